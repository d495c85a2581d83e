"""ssh_config: what is in force for a host, as ssh itself says, or as it reads its files where there is none."""
