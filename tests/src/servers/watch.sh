# Runs a server until standard input ends, whichever way its other end went away.
#   watch.sh DIRECTORY COMMAND…     the directory is deleted, unless the last word was `keep`
directory=$1
shift
# A key press in the terminal reaches this group too; the server ends after its users.
trap : INT TERM HUP
"$@" >>"$directory/log" 2>&1 &
server=$!
read -r word
# At once and without a checkpoint: as a crash would.
kill -QUIT "$server" 2>/dev/null
wait "$server"
[ "$word" = keep ] || rm -rf "$directory"
