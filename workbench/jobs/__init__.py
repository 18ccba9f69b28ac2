"""Long work as rows that outlive the process which asked for it: lease, heartbeat, cancel, actor."""
