#!/bin/sh
# Prints the rules of ../prometheus as PrometheusRules, one for each file, for the Prometheus Operator:
#
#   deploy/kubernetes/prometheus-rules.sh | kubectl apply --namespace monitoring --filename -
set -eu
for file in "$(dirname "$0")"/../prometheus/*.rules.yml; do
    name=$(basename "$file" .rules.yml)
    case $name in lookoutd*) ;; *) name=lookoutd-$name ;; esac
    cat << HEAD
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: $name
  labels: { app.kubernetes.io/name: lookoutd }
spec:
HEAD
    sed 's/^./  &/' "$file"
done
