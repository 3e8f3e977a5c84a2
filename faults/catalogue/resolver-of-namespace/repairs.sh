# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_name_the_registry_again() {
  sed -i "s/^nameserver .*/nameserver $PEER_ADDRESS/" "/etc/netns/$NAMESPACE/resolv.conf"
}
right_write_the_file_anew() {
  rm "/etc/netns/$NAMESPACE/resolv.conf"
  scripts/services.sh up
}

# One address of several, and no other name.
wrong_hard_code_one_address() { hard_code product-service.lab "$ADDRESS"; }
# ip netns exec hides this file from the namespace.
wrong_repair_the_file_of_the_host() { echo "nameserver $PEER_ADDRESS" >/etc/resolv.conf; }
