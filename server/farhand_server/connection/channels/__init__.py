"""What a channel can be: one module for each message that opens one."""
