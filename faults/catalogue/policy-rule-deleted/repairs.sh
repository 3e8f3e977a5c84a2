# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_load_the_policy_again() { security/policy.sh up; }
right_load_this_chain_again() {
  iptables -t security -F "CNET-TO-$ADDRESS"
  {
    echo '*security'
    .venv/bin/python -m lab.as_command security.policy compile |
      sed -n "s/^iptables security \(-A CNET-TO-$ADDRESS \)/\1/p"
    echo COMMIT
  } | iptables-restore --noflush
}

# All ports are open to all nodes then.
wrong_accept_everybody() { iptables -t security -I "CNET-TO-$ADDRESS" 1 -j RETURN; }
# Table security is asked after table filter.
wrong_accept_in_the_table_filter() { iptables -I FORWARD 1 -d "$ADDRESS" -j ACCEPT; }
# All that the policy closes is open then, and the cause is still there.
wrong_flush_policy() { flush_policy; }
