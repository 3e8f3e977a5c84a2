# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_give_the_name_back() { sed -i "/^$ADDRESS\\t/s/$NODE-old$/$NODE/" "/var/opt/cnet/nodes/$PEER_NODE/owners.tsv"; }
right_compare_with_the_table() { scripts/services.sh up; }

wrong_restart_the_instance() { supervised restart "$NODE"; }
# Only the instance itself may register its address, and the name is still another's.
wrong_register_it_by_hand() {
  in_namespace "$NAMESPACE" curl -s --retry 5 --retry-connrefused -H 'Content-Type: application/json' \
    -X POST "http://$PEER_ADDRESS:$PEER_LISTENS/register" \
    -d "{\"name\": \"product-service\", \"ip\": \"$ADDRESS\", \"port\": $LISTENS, \"instance_id\": \"$NODE\"}"
}
