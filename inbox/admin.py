"""Read cursors and mentions in the admin: both are the server's own."""

from django.contrib import admin

from conversations.readonly_admin import ParticipationAdmin
from inbox.models import Mention, ReadCursor


@admin.register(ReadCursor)
class ReadCursorAdmin(ParticipationAdmin):
    """How far everyone has read."""

    list_display = ("participant_id", "conversation", "last_read_seq", "updated_at")


@admin.register(Mention)
class MentionAdmin(ParticipationAdmin):
    """Who was mentioned where."""

    list_display = ("participant_id", "conversation", "seq")
