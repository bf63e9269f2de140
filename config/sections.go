package config

import "time"

// The comment above a field is its entry in the manual (docs/config.md, `parley config describe`): one or two sentences
// with unit and meaning. The type and the default are added from the code.

// Config is the whole configuration. An empty file is a working server.
type Config struct {
	// Folder for the log, the keys and the certificates. It is created with access for its owner only; one server at a time uses it.
	Data string `toml:"data"`
	// The domains this server is responsible for: names without a port. The first one is used where a single name is needed.
	Domains []string `toml:"domains"`
	// Lowest level that is logged: "debug", "info", "warn" or "error".
	Log string `toml:"log"`

	SIP      SIP      `toml:"sip"`
	HTTP     HTTP     `toml:"http"`
	Metrics  Metrics  `toml:"metrics"`
	Store    Store    `toml:"store"`
	Limits   Limits   `toml:"limits"`
	Message  Message  `toml:"message"`
	Register Register `toml:"register"`
	Call     Call     `toml:"call"`
	Presence Presence `toml:"presence"`
	Push     Push     `toml:"push"`
	Files    Files    `toml:"files"`
}

// SIP says where the server speaks SIP, and what passes.
type SIP struct {
	// UDP listeners: IP address and port each, IPv6 in brackets; [] for none.
	UDP []string `toml:"udp"`
	// TCP listeners, as udp.
	TCP []string `toml:"tcp"`
	// TLS listeners, as udp.
	TLS []string `toml:"tls"`
	// "auto" makes an own CA and a certificate for the domains at the first start; otherwise a PEM file with the certificate and its chain.
	Certificate string `toml:"certificate"`
	// PEM file with the private key of certificate. Empty: the key is in the certificate's file.
	Key string `toml:"key"`
	// Host name or IP address that peers shall use to reach this server, for machines behind NAT. Empty: the local address that the peer sees.
	Advertise string `toml:"advertise"`
	// Digest algorithms that are offered, best first: "SHA-256", "MD5" (RFC 8760). A second algorithm beside MD5 breaks several shipped clients.
	Digest []string `toml:"digest"`
	// Accept digest answers without qop, as old clients send them (RFC 2069). They are weaker against replay.
	LegacyDigest bool `toml:"legacy_digest"`
	// Methods that are let through; another method of the standard ones gets 405, an unknown one 501. ACK and CANCEL are always let through.
	Methods []string `toml:"methods"`
	// Media types that INFO requests may carry. Types that can carry text cannot be listed, because INFO is not recorded.
	InfoTypes []string `toml:"info_types"`
	// What differs on one listener, keyed by its name: transport, colon, address as listed above, for example [sip.listener."tcp:0.0.0.0:5060"]. WebSocket listeners are "wss:" (or "ws:" without TLS) and the address of http.listen.
	Listener map[string]Listener `toml:"listener"`
}

// Listener overrides the section sip on one listener.
type Listener struct {
	// Digest algorithms on this listener, as sip.digest. Empty: as sip.digest.
	Digest []string `toml:"digest"`
	// Accept answers without qop on this listener. Not set: as sip.legacy_digest.
	LegacyDigest *bool `toml:"legacy_digest"`
}

// HTTP is the door for browsers, the API and SIP over WebSocket (path /sip).
type HTTP struct {
	// IP address and port; empty for none.
	Listen string `toml:"listen"`
	// "auto" uses the own CA, "off" serves plain HTTP (behind a proxy that does TLS), otherwise a PEM file with the certificate and its chain.
	TLS string `toml:"tls"`
	// PEM file with the private key of tls. Empty: the key is in the certificate's file.
	Key string `toml:"key"`
	// Web origins whose pages may call the API and open a WebSocket beside this server's own, for example "https://chat.example.com".
	Origins []string `toml:"origins"`
	// Addresses and networks of proxies that stand before this listener, for example ["127.0.0.1", "10.1.2.0/28"]. They, and nobody else, are believed when they say in X-Forwarded-For whose request it is (the last address that is not a proxy's counts) and in X-Forwarded-Proto whether it came over TLS; they must set both.
	Proxies []string `toml:"proxies"`
	// How long somebody who has signed in over HTTP stays signed in without using the session.
	SessionLifetime time.Duration `toml:"session_lifetime"`
	// Calls of the API that one session may make in a second, and four times as many at once; more get resource_exhausted (429). 0: no limit.
	Rate int `toml:"rate"`
	// Attempts to sign in over HTTP from one IP address, or from one /64 of IPv6, in a second, and six times as many at once. 0: no limit. Wrong passwords are counted by limits.password_failures as well.
	SignInRate int `toml:"sign_in_rate"`
}

// Metrics is the door for monitoring: /metrics, /health and /ready.
type Metrics struct {
	// IP address and port; empty for none. It has no sign-in: keep it off public addresses.
	Listen string `toml:"listen"`
}

// Store says where the log is kept.
type Store struct {
	// Empty: SQLite in the data folder. Otherwise postgres://user:password@host/database; write "env:NAME" or "file:/path" to keep the password out of this file.
	URL string `toml:"url" secret:"true"`
}

// Limits bound what a peer can make the server hold. What is beyond a limit is refused or closed, never cut.
type Limits struct {
	// Largest UDP datagram taken, in bytes; a larger one gets 413. 65,535 is all that UDP can carry.
	Datagram int `toml:"datagram"`
	// Largest header block (first line and headers) of a SIP message, in bytes; a larger one gets 400 and ends the connection.
	HeaderBytes int `toml:"header_bytes"`
	// Largest body of a SIP message, in bytes, also after it was inflated; a larger one gets 413.
	Body int `toml:"body"`
	// Most header lines in a SIP message; more get 400.
	Headers int `toml:"headers"`
	// Most Via values in a SIP message; more get 400.
	Vias int `toml:"vias"`
	// Longest header line with its continuation lines, in bytes; a longer one gets 400.
	Line int `toml:"line"`
	// Branches that one request may have in all when it is forked (RFC 5393); more get 440.
	MaxBreadth int `toml:"max_breadth"`
	// Most connections in all, of SIP, and as many of HTTP (WebSockets are SIP's; event streams are limited by streams); more are closed at once.
	Connections int `toml:"connections"`
	// Most connections from one IP address, or from one /64 of IPv6, of SIP, and as many of HTTP; more are closed at once. Over HTTP this machine's own address and http.proxies are not limited; what proxies pass on is, by requests at once, with 429.
	ConnectionsPerAddress int `toml:"connections_per_address"`
	// How long a TLS or WebSocket handshake may take.
	HandshakeTimeout time.Duration `toml:"handshake_timeout"`
	// How long a new connection may live before its first whole SIP message.
	GreetingTimeout time.Duration `toml:"greeting_timeout"`
	// How long a SIP message may take from its first byte to its last.
	MessageTimeout time.Duration `toml:"message_timeout"`
	// How long a connection may send nothing, keep-alives included.
	IdleTimeout time.Duration `toml:"idle_timeout"`
	// Bytes that may wait to be written on one connection; a peer that does not read loses its connection.
	WriteQueue int `toml:"write_queue"`
	// Server transactions in flight, and as many client transactions; more requests get 503.
	Transactions int `toml:"transactions"`
	// Requests per second taken over UDP from one address that has not signed in yet; more are dropped.
	UnprovenRate int `toml:"unproven_rate"`
	// Wrong passwords in a row for an account from one address before it is locked for 10 s, then twice as long each time. Twenty times as many lock the address for all accounts.
	PasswordFailures int `toml:"password_failures"`
	// Subscriptions that one user may hold; more get 403.
	Subscriptions int `toml:"subscriptions"`
	// Event streams of the API that may be open at once, of all users; more get resource_exhausted.
	Streams int `toml:"streams"`
}

// Message is about instant messages.
type Message struct {
	// How long a repeated message is recognised and recorded once only.
	Window time.Duration `toml:"window"`
	// How long a device may stay away and still get what it missed. A device that returns later starts as a new one does: with what no device took.
	DeviceLapse time.Duration `toml:"device_lapse"`
	// Messages that one user may send in a second, and four times as many at once; more get 503. 0: no limit.
	Rate int `toml:"rate"`
}

// Register is about registrations.
type Register struct {
	// Shortest time a client may register for; a shorter wish gets 423.
	MinExpires time.Duration `toml:"min_expires"`
	// Time for a client that names none.
	DefaultExpires time.Duration `toml:"default_expires"`
	// Longest time granted; a longer wish is shortened.
	MaxExpires time.Duration `toml:"max_expires"`
	// Bindings that one user may have; more get 403.
	Bindings int `toml:"bindings"`
	// Contacts in one REGISTER; more get 400.
	Contacts int `toml:"contacts"`
	// Interval at which a client shall send keep-alives on a connection it registered with outbound (Flow-Timer, RFC 5626).
	FlowTimer time.Duration `toml:"flow_timer"`
}

// Call is about calls.
type Call struct {
	// How long a call may ring before all devices are told to stop and the caller gets 480 "No Answer".
	RingTimeout time.Duration `toml:"ring_timeout"`
	// Session timer that the proxy asks for (Session-Expires, RFC 4028): a call whose ends fall silent is over after this time.
	SessionExpires time.Duration `toml:"session_expires"`
	// Shortest session timer taken; a shorter one gets 422 (Min-SE, RFC 4028).
	MinSE time.Duration `toml:"min_se"`
}

// Presence is about who is there, and who is told.
type Presence struct {
	// User part of the address at which everybody subscribes to the own list of contacts: sip:contacts@example.com. An account of that name cannot be watched.
	List string `toml:"list"`
	// Least time between two notifications of one subscription. The first change is told at once, later ones together after this time. 0: each at once.
	Interval time.Duration `toml:"interval"`
	// Notifications in a second, of all subscriptions together; more wait, and each tells the newest state. 0: no limit.
	Rate int `toml:"rate"`
	// Subscriptions to presence that one user may hold, on all devices; more get 403. A client without lists needs one for each contact.
	Subscriptions int `toml:"subscriptions"`
}

// Files are what people send each other beside text.
type Files struct {
	// Largest file, in bytes. What somebody has uploaded and not sent yet may be five times that. 0: no files.
	MaxSize int `toml:"max_size"`
	// How long a file is kept; its message stays. 0: as long as the messages.
	Keep time.Duration `toml:"keep"`
	// Media types that are taken, as the server finds them in the files: "image/*", "application/pdf"; with "!" in front those that are not. Empty: all; only types with "!": all others.
	Types []string `toml:"types"`
	// Address under which SIP clients fetch files, such as "https://chat.example.com:8443". Empty: made of http.listen and sip.advertise or the first domain; with http.proxies and without TLS here it is https:// and that name, as a proxy has it.
	URL string `toml:"url"`
}

// Push is about notifications that browsers show while no page is open (Web Push, RFC 8030). They go through the push service of the
// browser's maker, which cannot read them.
type Push struct {
	// Send notifications to people who ask for them. The server calls the push services on port 443 directly.
	Enabled bool `toml:"enabled"`
	// Call push services at addresses and ports that the Internet does not have, too: for tests, and for a push service of one's own. People who may sign in can then make the server call any machine it reaches.
	AllowPrivate bool `toml:"allow_private"`
}
