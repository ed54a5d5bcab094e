#!/bin/sh
# Runs what the test says through the second serial port. A command comes as one line of base64;
# its output goes back line by line behind "|", its exit code behind "=".
exec </dev/ttyS1 >/dev/ttyS1 2>/dev/null
stty raw -echo -F /dev/ttyS1
echo "ready $(cat /proc/sys/kernel/random/boot_id)"
while read -r encoded; do
    echo "$encoded" | base64 -d >/run/vm-agent.command
    { /bin/sh /run/vm-agent.command </dev/null 2>&1; echo "$?" >/run/vm-agent.code; } |
        sed -u 's/^/|/; $a\'
    echo "=$(cat /run/vm-agent.code)"
done
