#!/bin/sh
# Prints the man page of a configuration file: the file, which explains itself.
set -eu

cat <<TEXT
.TH LOGSTREAM.YAML 5 "" "LogStream $2" "LogStream"
.SH NAME
logstream.yaml \- settings of a LogStream broker
.SH DESCRIPTION
.BR logstream (1)
needs no configuration. What there is comes from defaults, this file (\fB\-\-config\fR), the environment and flags; the
later of these wins. A key that is misspelt or a value that cannot be is refused at start, with its line. A broker that
gets SIGHUP (\fBsystemctl reload logstream\fR) reads the file again and says which settings wait for its next start.
.SH FILES
.TP
.I /etc/logstream/logstream.yaml
What the service reads.
.TP
.I /var/lib/logstream
The service's data folder. It may write nowhere else; another one has to be named to systemd, too: see
\fIReadWritePaths\fR in
.BR systemd.exec (5).
.SH SETTINGS
.EX
TEXT
sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/'/\\\\(aq/g" -e 's/`/\\(ga/g' -e 's/\^/\\(ha/g' -e 's/~/\\(ti/g' -e 's/^\./\\\&./' "$1"
cat <<'TEXT'
.EE
.SH SEE ALSO
.BR logstream (1),
.BR logstreamctl (1)
TEXT
