"""The processes: master, slave, application, system host, local cluster."""
