import { errorFrom, ParleyError } from "./errors.js";
import { type EventOptions, EventStream } from "./events.js";
import { type DownloadOptions, download, type UploadOptions, upload } from "./files.js";
import { ArchiveService } from "./gen/parley/v1/archive_pb.js";
import { ContactService } from "./gen/parley/v1/contacts_pb.js";
import { ConversationService } from "./gen/parley/v1/conversations_pb.js";
import { DeviceService } from "./gen/parley/v1/devices_pb.js";
import { EventService } from "./gen/parley/v1/events_pb.js";
import { FileService } from "./gen/parley/v1/files_pb.js";
import type { File as ParleyFile } from "./gen/parley/v1/messages_pb.js";
import { MessageService } from "./gen/parley/v1/messages_pb.js";
import { PeopleService } from "./gen/parley/v1/people_pb.js";
import { PresenceService } from "./gen/parley/v1/presence_pb.js";
import type { GetSessionResponse } from "./gen/parley/v1/session_pb.js";
import { SessionService } from "./gen/parley/v1/session_pb.js";
import { SettingsService } from "./gen/parley/v1/settings_pb.js";
import { Outbox, type OutboxOptions } from "./outbox.js";
import { type Draft, type SendOptions, type Sent, send } from "./send.js";
import { serviceClient, type Wire } from "./transport.js";

export interface ConnectOptions {
	/** "https://chat.example.com"; default: where the page came from. */
	url?: string;
	/** Of a session that was begun before (Client.token). */
	token?: string;
	/** In browsers: the session is a cookie, which the browser keeps and scripts cannot read. */
	cookie?: boolean;
	/** Another fetch, for tests and for servers with a certificate of their own. */
	fetch?: typeof globalThis.fetch;
}

export interface SignInOptions {
	/** "alice@example.com"; the domain may be left out when the server has one only. */
	address: string;
	password: string;
	/** What the person reads in the list of devices: "Echo bot". */
	device?: string;
	kind?: "desktop" | "phone" | "tablet";
}

/** Who the session is of, and what the server offers. */
export type Session = GetSessionResponse;

/** Makes a client. Nothing is sent before it is used. */
export function connect(options: ConnectOptions = {}): Client {
	return new Client(options);
}

/** Client calls one server, for one person. */
export class Client implements Wire {
	/** Address of the server without a slash at the end; empty: where the page came from. */
	readonly url: string;
	readonly #cookie: boolean;
	readonly #fetch: typeof globalThis.fetch;
	#token: string;

	// The services as they are in the schema; docs/api.md describes them. Their errors are ParleyErrors.
	readonly sessions = serviceClient(SessionService, this);
	readonly devices = serviceClient(DeviceService, this);
	readonly settings = serviceClient(SettingsService, this);
	readonly people = serviceClient(PeopleService, this);
	readonly contacts = serviceClient(ContactService, this);
	readonly presence = serviceClient(PresenceService, this);
	readonly conversations = serviceClient(ConversationService, this);
	readonly messages = serviceClient(MessageService, this);
	readonly files = serviceClient(FileService, this);
	readonly stream = serviceClient(EventService, this);
	/** For administrators. */
	readonly archive = serviceClient(ArchiveService, this);

	constructor(options: ConnectOptions) {
		this.url = (options.url ?? "").replace(/\/+$/, "");
		this.#token = options.token ?? "";
		this.#cookie = options.cookie ?? false;
		this.#fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
	}

	/** Token of the session, to be kept like a password; "" when there is none or it is a cookie. */
	get token(): string {
		return this.#token;
	}

	/** Begins a session. unauthenticated: address or password are wrong; resource_exhausted: wait retryAfter seconds. */
	async signIn(options: SignInOptions): Promise<Session> {
		const { token, session } = await this.sessions.signIn({ device: "", kind: "", ...options, cookie: this.#cookie });
		if (session === undefined) {
			throw new ParleyError("internal", "the server told nothing of the session", { reason: "protocol" });
		}
		this.#token = token;
		return session;
	}

	/** Ends the session on the server. */
	async signOut(): Promise<void> {
		await this.sessions.signOut({});
		this.#token = "";
	}

	/** Tells whose session it is. unauthenticated: there is none, or it has ended. */
	session(): Promise<Session> {
		return this.sessions.getSession({});
	}

	/** A stream of what happens. It begins when somebody listens. */
	events(options: EventOptions = {}): EventStream {
		return new EventStream(
			{
				stream: (request, call) => this.stream.stream(request, call),
				follow: (request) => this.stream.follow(request),
				acknowledge: (request) => this.stream.acknowledge(request),
			},
			options,
		);
	}

	/** Sends a message. It is repeated, and recorded once, while the server cannot be reached. */
	send(draft: Draft, options?: SendOptions): Promise<Sent> {
		return send(this, draft, options);
	}

	/** Sends messages in order, and tells how far they are: for pages. */
	outbox(options?: OutboxOptions): Outbox {
		return new Outbox(this, options);
	}

	/** Uploads a file for a message in a conversation: send({ conversation, file: file.id }). It goes on where it broke off. */
	upload(data: Blob, options: UploadOptions): Promise<ParleyFile> {
		return upload(this, data, options);
	}

	/** Fetches a file. */
	download(file: Pick<ParleyFile, "url">, options?: DownloadOptions): Promise<Blob> {
		return download(this, file.url, options);
	}

	/** The address of something on the server, like File.url: for img and a elements when the session is a cookie. */
	href(path: string): string {
		if (!/^\/(?![/\\])/.test(path)) {
			throw new ParleyError("invalid_argument", "that is not a path on this server");
		}
		return this.url + path;
	}

	/** fetch with the session. Wire is what services need. */
	async fetch(path: string, init: RequestInit & { headers: Headers }): Promise<Response> {
		if (this.#token !== "") {
			init.headers.set("authorization", `Bearer ${this.#token}`);
		}
		try {
			return await this.#fetch(this.href(path), { credentials: this.#cookie ? "include" : "omit", ...init });
		} catch (err) {
			throw errorFrom(err, init.signal ?? undefined);
		}
	}
}
