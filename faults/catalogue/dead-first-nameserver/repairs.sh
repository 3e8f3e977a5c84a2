# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_remove_the_first_nameserver() {
  sed -i -e "/^nameserver $GATEWAY$/d" -e 's/^# options/options/' "/etc/netns/$NAMESPACE/resolv.conf"
}
right_compare_with_the_table() { scripts/services.sh up; }

# The dead server is still asked first, and now it is asked more often.
wrong_try_more_often() { echo "options attempts:5" >>"/etc/netns/$NAMESPACE/resolv.conf"; }
wrong_hard_code_one_address() { hard_code product-service.lab "$ADDRESS"; }
# Right until an instance comes or goes.
wrong_hard_code_all_addresses() {
  local found
  for found in $(ip netns exec "$PEER_NAMESPACE" getent ahostsv4 product-service.lab | cut -d' ' -f1 | sort -u); do
    hard_code product-service.lab "$found"
  done
}
