#!/bin/sh
# Prints the man page of a configuration file: the file itself with its comments.
set -eu

cat <<TEXT
.TH LOGSTREAM.YAML 5 "" "LogStream $2" "LogStream"
.SH NAME
logstream.yaml \- settings of a LogStream broker
.SH DESCRIPTION
.BR logstream (1)
needs no configuration. Settings come from defaults, this file (\fB\-\-config\fR), the environment and flags, in
increasing order of precedence. A misspelt key or an invalid value is refused at start, with its line. On SIGHUP
(\fBsystemctl reload logstream\fR) a broker reloads the file and logs which settings take effect at its next start.
.SH FILES
.TP
.I /etc/logstream/logstream.yaml
The configuration that the service reads.
.TP
.I /var/lib/logstream
The service's data folder. The service may write nowhere else; to use another folder, allow it in systemd, too: see
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
