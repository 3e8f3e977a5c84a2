# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_remove_the_entry() {
  grep -v "^$ADDRESS product-service.lab$" /etc/hosts >/run/cnet/hosts || :
  cat /run/cnet/hosts >/etc/hosts
  rm /run/cnet/hosts
}
right_edit_the_file() { sed -i '/product-service\.lab/d' /etc/hosts; }

# Two addresses now, but still not those of the registry.
wrong_add_another_entry() { hard_code product-service.lab "$FREE_ADDRESS"; }
wrong_restart_the_dns_server() { supervised restart "$PEER_NODE"; }
