# shellcheck shell=bash disable=SC2154 # variables of targets.py
hard_code product-service.lab "$ADDRESS"
