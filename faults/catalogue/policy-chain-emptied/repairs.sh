# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_load_this_chain_again() {
  {
    echo '*security'
    .venv/bin/python -m lab.as_command security.policy compile |
      sed -n "s/^iptables security \(-A CNET-TO-$ADDRESS \)/\1/p"
    echo COMMIT
  } | iptables-restore --noflush
}
right_load_the_policy_again() { security/policy.sh up; }

# Those who may use it are shut out too.
wrong_drop_everything() { iptables -t security -A "CNET-TO-$ADDRESS" -j DROP; }
wrong_drop_one_caller() { iptables -t security -A "CNET-TO-$ADDRESS" -s "$PEER_ADDRESS" -j DROP; }
