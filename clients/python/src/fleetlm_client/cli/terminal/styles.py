"""How the chat looks: colours of the theme, so that a light one works as well."""

CHAT = """
Screen { layout: vertical; }
#top { height: 1; padding: 0 1; background: $panel; }
#middle { height: 1fr; }
#inbox {
    width: 30; height: 1fr; padding: 0 1; border: none; border-right: solid $panel-lighten-1; background: $surface;
    scrollbar-size-vertical: 1;
}
#inbox:focus { border: none; border-right: solid $primary; }
#room { width: 1fr; }
#log { height: 1fr; background: $background; scrollbar-size-vertical: 1; overflow-x: hidden; overflow-y: scroll; }
#activity { height: 1; padding: 0 1 0 7; color: $text-muted; }
#composer {
    height: auto; max-height: 8; padding: 0 1; border: none; border-left: thick $primary-darken-2; background: $surface;
}
#composer:focus { border: none; border-left: thick $primary; }

.narrow #inbox { display: none; }
.narrow.listing #inbox { display: block; width: 1fr; border-right: none; }
.narrow.listing #room { display: none; }

.log--text { color: $foreground; }
.log--dim { color: $text-muted; }
.log--time { color: $text-muted; }
.log--day { color: $text-muted; }
.log--marker { color: $text-warning; }
.log--failed { color: $text-error; }
.log--own { color: $foreground; text-style: bold; }
.log--sender0 { color: $text-success; text-style: bold; }
.log--sender1 { color: $text-primary; text-style: bold; }
.log--sender2 { color: $text-accent; text-style: bold; }
.log--sender3 { color: $text-secondary; text-style: bold; }
.log--sender4 { color: $text-warning; text-style: bold; }
"""

DIALOG = """
Keys, Whom { align: center middle; background: $background 60%; }
.dialog { width: 62; max-width: 95%; height: auto; max-height: 95%; padding: 1 2; background: $panel; }
.dialog Input { margin-top: 1; }
"""
