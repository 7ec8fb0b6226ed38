"""Lines to a syslog server: RFC 5424 and RFC 3164 over datagrams, streams and TLS."""
