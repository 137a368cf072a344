"""Generated from the protocol: messages, and stubs for those who call it themselves."""
