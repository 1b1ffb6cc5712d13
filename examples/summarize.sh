#!/bin/sh
# A skill with curl: sums up a text from standard input, or a sentence of Alice's.
#   SKILLGATE_URL=http://127.0.0.1:8000 SKILLGATE_KEY=sg_live_… ./summarize.sh < text.txt
# `Idempotency-Key` makes the retries safe: however often curl asks, the skill runs and is paid for once.
set -eu

text='Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do.'
[ -t 0 ] || { given=$(cat); text=${given:-$text}; }

# JSON needs quotes, backslashes and line breaks escaped.
escaped=$(printf '%s' "$text" | sed 's/\\/\\\\/g; s/"/\\"/g; s/	/\\t/g' | awk 'NR > 1 { printf "\\n" } { printf "%s", $0 }')

curl --silent --show-error --fail-with-body --retry 3 --max-time 120 \
  --header "X-API-Key: $SKILLGATE_KEY" \
  --header "Idempotency-Key: $(date +%s)-$$" \
  --json "{\"input\": {\"text\": \"$escaped\"}}" \
  "$SKILLGATE_URL/v1/skills/summarize"
echo
