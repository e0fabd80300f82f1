"""The policy of a tenant: how long its trash and its backups are kept, and its legal hold."""
