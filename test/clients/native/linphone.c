/*
 * A liblinphone client without a screen or a sound card.
 *
 *   linphone DIR IDENTITY SERVER PASSWORD RTP-PORT [CA-FILE]
 *
 * Commands (fields separated by tabs, see events.h):
 *   message URI TEXT    read URI    typing URI    cpim on|off    audio PLAY-WAV RECORD-WAV    call URI    hangup
 *   watch LIST-URI "URI URI …"    presence online|busy    fileserver URL    file URI PATH    quit
 * Events: registration, message, sent (the state of a message of ours), composing, call, presence, file (one that came, and where it is).
 * Incoming calls are answered. "read" marks what came from a user as read, and so sends "displayed" receipts.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <linphone/core.h>

#include "events.h"

static LinphoneCore *core;
static LinphoneAccount *account;
static const char *folder;

static void on_registration(LinphoneCore *c, LinphoneAccount *a, LinphoneRegistrationState state, const char *text) {
	(void)c;
	(void)a;
	event_open("registration");
	event_text("state", linphone_registration_state_to_string(state));
	event_text("text", text);
	event_close();
}

static void on_call(LinphoneCore *c, LinphoneCall *call, LinphoneCallState state, const char *text) {
	char *peer = linphone_address_as_string_uri_only(linphone_call_get_remote_address(call));
	event_open("call");
	event_text("state", linphone_call_state_to_string(state));
	event_text("from", peer);
	event_text("text", text);
	event_close();
	bctbx_free(peer);
	if (state == LinphoneCallStateIncomingReceived) {
		LinphoneCallParams *params = linphone_core_create_call_params(c, call);
		linphone_call_accept_with_params(call, params);
		linphone_call_params_unref(params);
	}
}

static void on_fetched(LinphoneChatMessage *message, LinphoneChatMessageState state) {
	if (state != LinphoneChatMessageStateFileTransferDone) {
		return;
	}
	char *from = linphone_address_as_string_uri_only(linphone_chat_message_get_from_address(message));
	const bctbx_list_t *item = linphone_chat_message_get_contents(message);
	for (; item; item = bctbx_list_next(item)) {
		if (!linphone_content_is_file(bctbx_list_get_data(item))) {
			continue; /* the words to it */
		}
		event_open("file");
		event_text("from", from);
		event_text("text", linphone_content_get_file_path(bctbx_list_get_data(item)));
		event_close();
	}
	bctbx_free(from);
}

/* fetch gets a file that a message tells of. */
static void fetch(LinphoneChatMessage *message, LinphoneContent *content) {
	static int count;
	char path[1024];
	snprintf(path, sizeof path, "%s/fetched-%d", folder, ++count);
	linphone_content_set_file_path(content, path);
	LinphoneChatMessageCbs *cbs = linphone_factory_create_chat_message_cbs(linphone_factory_get());
	linphone_chat_message_cbs_set_msg_state_changed(cbs, on_fetched);
	linphone_chat_message_add_callbacks(message, cbs);
	linphone_chat_message_cbs_unref(cbs);
	linphone_chat_message_download_content(message, content);
}

static void on_message(LinphoneCore *c, LinphoneChatRoom *room, LinphoneChatMessage *message) {
	(void)c;
	(void)room;
	char *from = linphone_address_as_string_uri_only(linphone_chat_message_get_from_address(message));
	const bctbx_list_t *item = linphone_chat_message_get_contents(message);
	for (; item; item = bctbx_list_next(item)) {
		LinphoneContent *content = bctbx_list_get_data(item);
		if (linphone_content_is_file_transfer(content)) {
			fetch(message, content);
			continue;
		}
		event_open("message");
		event_text("from", from);
		event_text("text", linphone_content_get_utf8_text(content));
		event_number("time", linphone_chat_message_get_time(message));
		event_close();
	}
	bctbx_free(from);
}

static void on_composing(LinphoneCore *c, LinphoneChatRoom *room) {
	(void)c;
	char *from = linphone_address_as_string_uri_only(linphone_chat_room_get_peer_address(room));
	event_open("composing");
	event_text("from", from);
	event_text("state", linphone_chat_room_is_remote_composing(room) ? "active" : "idle");
	event_close();
	bctbx_free(from);
}

static void on_sent(LinphoneChatMessage *message, LinphoneChatMessageState state) {
	event_open("sent");
	event_text("state", linphone_chat_message_state_to_string(state));
	event_text("text", linphone_chat_message_get_utf8_text(message));
	event_close();
}

static const char *state_of(const LinphonePresenceModel *model) {
	if (linphone_presence_model_get_basic_status(model) == LinphonePresenceBasicStatusClosed) {
		return "offline";
	}
	LinphonePresenceActivity *activity = linphone_presence_model_get_activity(model);
	if (!activity) {
		return "available";
	}
	switch (linphone_presence_activity_get_type(activity)) {
	case LinphonePresenceActivityBusy:
		return "busy";
	case LinphonePresenceActivityOnThePhone:
		return "on-the-phone";
	case LinphonePresenceActivityMeeting:
		return "meeting";
	case LinphonePresenceActivityAway:
		return "away";
	default:
		return "other";
	}
}

static void on_presence(LinphoneFriend *friend, const char *uri) {
	const LinphonePresenceModel *model = linphone_friend_get_presence_model_for_uri_or_tel(friend, uri);
	event_open("presence");
	event_text("from", uri);
	event_text("state", model ? state_of(model) : "unknown");
	event_close();
}

static void on_friend_presence(LinphoneCore *c, LinphoneFriend *friend) {
	(void)c;
	char *uri = linphone_address_as_string_uri_only(linphone_friend_get_address(friend));
	on_presence(friend, uri);
	bctbx_free(uri);
}

/* watch_list subscribes to some people with one SUBSCRIBE, the list in its body (RFC 5367). */
static void watch_list(const char *list_uri, char *uris) {
	LinphoneFriendList *list = linphone_core_create_friend_list(core);
	linphone_friend_list_set_display_name(list, "watched");
	linphone_friend_list_set_rls_uri(list, list_uri);
	for (char *uri = strtok(uris, " "); uri; uri = strtok(NULL, " ")) {
		LinphoneFriend *friend = linphone_core_create_friend_with_address(core, uri);
		linphone_friend_enable_subscribes(friend, TRUE);
		linphone_friend_list_add_friend(list, friend);
	}
	linphone_core_add_friend_list(core, list);
	linphone_friend_list_enable_subscriptions(list, TRUE);
	linphone_friend_list_update_subscriptions(list);
}

static void publish_presence(bool_t is_busy) {
	LinphonePresenceModel *model = linphone_core_create_presence_model(core);
	linphone_presence_model_set_basic_status(model, LinphonePresenceBasicStatusOpen);
	if (is_busy) {
		linphone_presence_model_set_activity(model, LinphonePresenceActivityBusy, NULL);
	}
	linphone_core_set_presence_model(core, model);
	linphone_presence_model_unref(model);
}

/* one_to_one finds or creates the plain chat room with a peer. */
static LinphoneChatRoom *one_to_one(const char *peer) {
	LinphoneChatRoomParams *params = linphone_core_create_default_chat_room_params(core);
	linphone_chat_room_params_set_backend(params, LinphoneChatRoomBackendBasic);
	linphone_chat_room_params_enable_encryption(params, FALSE);
	linphone_chat_room_params_enable_group(params, FALSE);
	const LinphoneAddress *self = linphone_account_params_get_identity_address(linphone_account_get_params(account));
	bctbx_list_t *peers = bctbx_list_append(NULL, linphone_core_interpret_url(core, peer));
	LinphoneChatRoom *room = linphone_core_create_chat_room_6(core, params, self, peers);
	bctbx_list_free_with_data(peers, (bctbx_list_free_func)linphone_address_unref);
	linphone_chat_room_params_unref(params);
	return room;
}

static void send_watched(LinphoneChatMessage *message) {
	LinphoneChatMessageCbs *cbs = linphone_factory_create_chat_message_cbs(linphone_factory_get());
	linphone_chat_message_cbs_set_msg_state_changed(cbs, on_sent);
	linphone_chat_message_add_callbacks(message, cbs);
	linphone_chat_message_cbs_unref(cbs);
	linphone_chat_message_send(message);
}

static void send_message(const char *peer, const char *text) {
	send_watched(linphone_chat_room_create_message_from_utf8(one_to_one(peer), text));
}

static void send_file(const char *peer, const char *path) {
	LinphoneContent *content = linphone_core_create_content(core);
	linphone_content_set_type(content, "application");
	linphone_content_set_subtype(content, "octet-stream");
	linphone_content_set_file_path(content, path);
	linphone_content_set_name(content, strrchr(path, '/') + 1);
	send_watched(linphone_chat_room_create_file_transfer_message(one_to_one(peer), content));
	linphone_content_unref(content);
}

static void set_cpim(bool_t on) {
	LinphoneAccountParams *params = linphone_account_params_clone(linphone_account_get_params(account));
	linphone_account_params_enable_cpim_in_basic_chat_room(params, on);
	linphone_account_set_params(account, params);
	linphone_account_params_unref(params);
}

static void start_call(const char *peer) {
	LinphoneCallParams *params = linphone_core_create_call_params(core, NULL);
	linphone_call_params_enable_video(params, FALSE);
	linphone_core_invite_with_params(core, peer, params);
	linphone_call_params_unref(params);
}

/* obey runs one command; it returns 0 when the client is to leave. */
static int obey(char *line) {
	char *f[MAX_FIELDS];
	split_fields(line, f);
	if (!strcmp(f[0], "quit")) {
		return 0;
	}
	if (!strcmp(f[0], "message")) {
		send_message(f[1], f[2]);
	} else if (!strcmp(f[0], "fileserver")) {
		linphone_core_set_file_transfer_server(core, f[1]);
	} else if (!strcmp(f[0], "file")) {
		send_file(f[1], f[2]);
	} else if (!strcmp(f[0], "typing")) {
		linphone_chat_room_compose(one_to_one(f[1]));
	} else if (!strcmp(f[0], "read")) {
		linphone_chat_room_mark_as_read(one_to_one(f[1]));
	} else if (!strcmp(f[0], "cpim")) {
		set_cpim(!strcmp(f[1], "on"));
	} else if (!strcmp(f[0], "audio")) {
		linphone_core_set_play_file(core, f[1]);
		linphone_core_set_record_file(core, f[2]);
	} else if (!strcmp(f[0], "call")) {
		start_call(f[1]);
	} else if (!strcmp(f[0], "watch")) {
		watch_list(f[1], f[2]);
	} else if (!strcmp(f[0], "presence")) {
		publish_presence(!strcmp(f[1], "busy"));
	} else if (!strcmp(f[0], "hangup")) {
		linphone_core_terminate_all_calls(core);
	}
	return 1;
}

static void create_core(const char *dir, int rtp_port, const char *ca) {
	LinphoneFactory *factory = linphone_factory_get();
	linphone_factory_set_config_dir(factory, dir);
	linphone_factory_set_data_dir(factory, dir);

	char path[1024];
	snprintf(path, sizeof path, "%s/sip.log", dir);
	linphone_logging_service_set_log_level(linphone_logging_service_get(), LinphoneLogLevelMessage);
	linphone_core_set_log_file(fopen(path, "w"));

	snprintf(path, sizeof path, "%s/rc", dir);
	LinphoneConfig *config = linphone_config_new(path);
	linphone_config_set_string(config, "sip", "bind_address", "127.0.0.1");
	/* Without a CA the certificate is not checked. Its name is not: the server is reached by address. */
	linphone_config_set_int(config, "sip", "verify_server_certs", ca != NULL);
	linphone_config_set_int(config, "sip", "verify_server_cn", 0);
	if (ca) {
		linphone_config_set_string(config, "sip", "root_ca", ca);
	}
	linphone_config_set_string(config, "rtp", "bind_address", "127.0.0.1");

	core = linphone_factory_create_core_with_config_3(factory, config, NULL);
	linphone_core_set_user_agent(core, "Linphone-Headless", "1.0");
	linphone_core_enable_ipv6(core, FALSE);
	linphone_core_set_use_files(core, TRUE);
	linphone_core_enable_lime_x3dh(core, FALSE);
	linphone_core_set_audio_port_range(core, rtp_port, rtp_port + 20);

	/* -1: a port of the system's choice. */
	LinphoneTransports *ports = linphone_factory_create_transports(factory);
	linphone_transports_set_udp_port(ports, -1);
	linphone_transports_set_tcp_port(ports, -1);
	linphone_transports_set_tls_port(ports, -1);
	linphone_core_set_transports(core, ports);

	LinphoneCoreCbs *cbs = linphone_factory_create_core_cbs(factory);
	linphone_core_cbs_set_account_registration_state_changed(cbs, on_registration);
	linphone_core_cbs_set_call_state_changed(cbs, on_call);
	linphone_core_cbs_set_message_received(cbs, on_message);
	linphone_core_cbs_set_is_composing_received(cbs, on_composing);
	linphone_core_cbs_set_notify_presence_received(cbs, on_friend_presence);
	linphone_core_add_callbacks(core, cbs);
	linphone_core_start(core);
}

static void create_account(const char *identity, const char *server, const char *password) {
	LinphoneFactory *factory = linphone_factory_get();
	LinphoneAddress *self = linphone_factory_create_address(factory, identity);
	LinphoneAddress *route = linphone_factory_create_address(factory, server);
	LinphoneAuthInfo *auth = linphone_factory_create_auth_info(
		factory, linphone_address_get_username(self), NULL, password, NULL, NULL, NULL);
	linphone_core_add_auth_info(core, auth);

	LinphoneAccountParams *params = linphone_core_create_account_params(core);
	linphone_account_params_set_identity_address(params, self);
	linphone_account_params_set_server_address(params, route);
	linphone_account_params_set_routes_addresses(params, bctbx_list_append(NULL, route));
	linphone_account_params_set_register_enabled(params, TRUE);
	linphone_account_params_set_publish_enabled(params, TRUE);
	account = linphone_core_create_account(core, params);
	linphone_core_add_account(core, account);
	linphone_core_set_default_account(core, account);
}

/* iterate lets liblinphone work for about n times 10 ms. */
static void iterate(int n) {
	while (n-- > 0) {
		linphone_core_iterate(core);
		usleep(10000);
	}
}

int main(int argc, char **argv) {
	if (argc != 6 && argc != 7) {
		fprintf(stderr, "usage: linphone DIR IDENTITY SERVER PASSWORD RTP-PORT [CA-FILE]\n");
		return 2;
	}
	folder = argv[1];
	create_core(argv[1], atoi(argv[5]), argv[6]);
	create_account(argv[2], argv[3], argv[4]);

	static char buffer[65536];
	size_t used = 0;
	int running = 1;
	fcntl(0, F_SETFL, O_NONBLOCK);
	while (running) {
		iterate(1);
		ssize_t n = read(0, buffer + used, sizeof buffer - 1 - used);
		if (n == 0) {
			break;
		}
		if (n < 0) {
			continue;
		}
		used += n;
		buffer[used] = 0;
		char *end;
		while (running && (end = strchr(buffer, '\n'))) {
			*end = 0;
			running = obey(buffer);
			used -= end + 1 - buffer;
			memmove(buffer, end + 1, used + 1);
		}
	}
	linphone_core_terminate_all_calls(core);
	iterate(20);
	linphone_core_stop(core);
	return 0;
}
