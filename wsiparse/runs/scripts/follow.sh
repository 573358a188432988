
# Out of time: stop, queue up again, go on. `scancel` stops and does not come back. A crash goes on, five times at most.
why=ended
crashes="$output/submit/crashes-$SLURM_JOB_ID"
trap 'why=time; kill -TERM "$run"' USR1
trap 'why=cancelled; kill -TERM "$run"' TERM
while true; do
  wait "$run"
  code=$?
  kill -0 "$run" 2>/dev/null || break
done
case "$why $code" in
  *" 0" | *" 2" | *" 3") ;; # all done, refused, some slides failed
  "cancelled "*) ;;
  "time "*) scontrol requeue "$SLURM_JOB_ID" ;;
  *)
    echo "exit code $code" >>"$crashes"
    [ "$(wc -l <"$crashes")" -gt 5 ] || scontrol requeue "$SLURM_JOB_ID"
    ;;
esac
exit "$code"
