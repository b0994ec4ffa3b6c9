"""The chat at a terminal. `transcript` is what is known of a conversation, `items` and `layout` what of it is shown
where, all without a screen; the rest are the widgets."""
