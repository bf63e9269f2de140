/*
 * A libpurple client (its SIMPLE plug-in) without a screen.
 *
 *   purple DIR USER@DOMAIN PASSWORD SERVER-ADDRESS SERVER-PORT udp|tcp
 *
 * Commands (fields separated by tabs, see events.h): message WHO TEXT    typing WHO    watch WHO    quit
 * Events: registration, message, composing, presence.
 */
#include <signal.h>
#include <stdlib.h>

#include <glib.h>
#include <purple.h>

#include "events.h"

static PurpleAccount *account;
static GMainLoop *loop;

/* The event loop that libpurple wants from its user: GLib's, with file descriptors wrapped as channels. */
typedef struct {
	PurpleInputFunction call;
	gpointer data;
} Watch;

static const GIOCondition READABLE = G_IO_IN | G_IO_HUP | G_IO_ERR;
static const GIOCondition WRITABLE = G_IO_OUT | G_IO_HUP | G_IO_ERR | G_IO_NVAL;

static gboolean watch_fired(GIOChannel *channel, GIOCondition condition, gpointer data) {
	Watch *watch = data;
	int ready = 0;
	if (condition & READABLE) {
		ready |= PURPLE_INPUT_READ;
	}
	if (condition & WRITABLE) {
		ready |= PURPLE_INPUT_WRITE;
	}
	watch->call(watch->data, g_io_channel_unix_get_fd(channel), ready);
	return TRUE;
}

static guint watch_add(gint fd, PurpleInputCondition want, PurpleInputFunction call, gpointer data) {
	Watch *watch = g_new0(Watch, 1);
	watch->call = call;
	watch->data = data;
	GIOCondition condition = 0;
	if (want & PURPLE_INPUT_READ) {
		condition |= READABLE;
	}
	if (want & PURPLE_INPUT_WRITE) {
		condition |= WRITABLE;
	}
	GIOChannel *channel = g_io_channel_unix_new(fd);
	guint id = g_io_add_watch_full(channel, G_PRIORITY_DEFAULT, condition, watch_fired, watch, g_free);
	g_io_channel_unref(channel);
	return id;
}

static PurpleEventLoopUiOps loop_ops = {
	.timeout_add = g_timeout_add,
	.timeout_remove = g_source_remove,
	.input_add = watch_add,
	.input_remove = g_source_remove,
	.timeout_add_seconds = g_timeout_add_seconds,
};

static void on_conversation(PurpleConversation *conversation, const char *who, const char *alias, const char *text,
	PurpleMessageFlags flags, time_t when) {
	(void)conversation;
	(void)alias;
	event_open(flags & PURPLE_MESSAGE_RECV ? "message" : flags & PURPLE_MESSAGE_SEND ? "sent" : "notice");
	event_text("from", who);
	event_text("text", text);
	event_number("time", when);
	event_close();
}

static PurpleConversationUiOps conversation_ops = {.write_conv = on_conversation};

static void on_signed_on(PurpleConnection *connection) {
	(void)connection;
	event_open("registration");
	event_text("state", "Ok");
	event_close();
}

static void on_connection_error(PurpleConnection *connection, PurpleConnectionError error, const char *text) {
	(void)connection;
	event_open("registration");
	event_text("state", "Failed");
	event_number("code", error);
	event_text("text", text);
	event_close();
}

static void on_typing(PurpleAccount *a, const char *who) {
	(void)a;
	event_open("composing");
	event_text("from", who);
	event_text("state", "active");
	event_close();
}

static void tell_presence(PurpleBuddy *buddy) {
	event_open("presence");
	event_text("from", purple_buddy_get_name(buddy));
	event_text("state", PURPLE_BUDDY_IS_ONLINE(buddy) ? purple_status_get_id(purple_presence_get_active_status(purple_buddy_get_presence(buddy))) : "offline");
	event_close();
}

static void on_status(PurpleBuddy *buddy, PurpleStatus *old, PurpleStatus *new) {
	(void)old, (void)new;
	tell_presence(buddy);
}

static void watch_buddy(const char *who) {
	if (purple_find_buddy(account, who)) {
		return;
	}
	PurpleGroup *group = purple_group_new("Watched");
	PurpleBuddy *buddy = purple_buddy_new(account, who, NULL);
	purple_blist_add_group(group, NULL);
	purple_blist_add_buddy(buddy, NULL, group, NULL);
	purple_account_add_buddy(account, buddy);
}

static void *on_authorize(PurpleAccount *a, const char *user, const char *id, const char *alias, const char *text,
	gboolean listed, PurpleAccountRequestAuthorizationCb yes, PurpleAccountRequestAuthorizationCb no, void *data) {
	(void)a, (void)user, (void)id, (void)alias, (void)text, (void)listed, (void)no;
	yes(data);
	return NULL;
}

static PurpleAccountUiOps account_ops = {.request_authorize = on_authorize};

/* send_message gives libpurple what a user interface would: HTML, from which the plug-in makes plain text again. */
static void send_message(const char *who, const char *text) {
	PurpleConversation *conversation = purple_find_conversation_with_account(PURPLE_CONV_TYPE_IM, who, account);
	if (!conversation) {
		conversation = purple_conversation_new(PURPLE_CONV_TYPE_IM, account, who);
	}
	gchar *escaped = g_markup_escape_text(text, -1);
	gchar *html = purple_strreplace(escaped, "\n", "<br>");
	purple_conv_im_send(PURPLE_CONV_IM(conversation), html);
	g_free(html);
	g_free(escaped);
}

static gboolean on_command(GIOChannel *channel, GIOCondition condition, gpointer data) {
	(void)condition;
	(void)data;
	gchar *line = NULL;
	if (g_io_channel_read_line(channel, &line, NULL, NULL, NULL) != G_IO_STATUS_NORMAL) {
		g_main_loop_quit(loop);
		return FALSE;
	}
	g_strchomp(line);
	char *f[MAX_FIELDS];
	split_fields(line, f);
	if (!strcmp(f[0], "quit")) {
		g_main_loop_quit(loop);
	} else if (!strcmp(f[0], "message")) {
		send_message(f[1], f[2]);
	} else if (!strcmp(f[0], "typing")) {
		serv_send_typing(purple_account_get_connection(account), f[1], PURPLE_TYPING);
	} else if (!strcmp(f[0], "watch")) {
		watch_buddy(f[1]);
	}
	g_free(line);
	return TRUE;
}

static void connect_signals(void) {
	static int handle;
	void *connections = purple_connections_get_handle();
	void *conversations = purple_conversations_get_handle();
	purple_signal_connect(connections, "signed-on", &handle, PURPLE_CALLBACK(on_signed_on), NULL);
	purple_signal_connect(connections, "connection-error", &handle, PURPLE_CALLBACK(on_connection_error), NULL);
	purple_signal_connect(purple_blist_get_handle(), "buddy-status-changed", &handle, PURPLE_CALLBACK(on_status), NULL);
	purple_signal_connect(purple_blist_get_handle(), "buddy-signed-on", &handle, PURPLE_CALLBACK(tell_presence), NULL);
	purple_signal_connect(purple_blist_get_handle(), "buddy-signed-off", &handle, PURPLE_CALLBACK(tell_presence), NULL);
	purple_signal_connect(conversations, "buddy-typing", &handle, PURPLE_CALLBACK(on_typing), NULL);
}

int main(int argc, char **argv) {
	if (argc != 7) {
		fprintf(stderr, "usage: purple DIR USER@DOMAIN PASSWORD SERVER-ADDRESS SERVER-PORT udp|tcp\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	loop = g_main_loop_new(NULL, FALSE);
	purple_util_set_user_dir(argv[1]);
	purple_debug_set_enabled(getenv("PURPLE_DEBUG") != NULL);
	purple_eventloop_set_ui_ops(&loop_ops);
	purple_conversations_set_ui_ops(&conversation_ops);
	purple_accounts_set_ui_ops(&account_ops);
	if (!purple_core_init("parley-test")) {
		fprintf(stderr, "libpurple does not start\n");
		return 1;
	}
	purple_set_blist(purple_blist_new());
	purple_prefs_load();
	connect_signals();

	account = purple_account_new(argv[2], "prpl-simple");
	purple_account_set_password(account, argv[3]);
	purple_account_set_bool(account, "useproxy", TRUE);
	purple_account_set_string(account, "proxy", argv[4]);
	purple_account_set_int(account, "port", atoi(argv[5]));
	purple_account_set_bool(account, "udp", !strcmp(argv[6], "udp"));
	purple_accounts_add(account);
	purple_account_set_enabled(account, "parley-test", TRUE);
	purple_savedstatus_activate(purple_savedstatus_new(NULL, PURPLE_STATUS_AVAILABLE));

	g_io_add_watch(g_io_channel_unix_new(0), G_IO_IN | G_IO_HUP, on_command, NULL);
	g_main_loop_run(loop);
	purple_account_disconnect(account);
	purple_core_quit();
	return 0;
}
