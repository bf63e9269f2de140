package test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/config"
	parley "github.com/parley-im/parley/sdk/go"
	"github.com/parley-im/parley/transport"
)

// get reads a page.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// web is the address of the door for browsers.
func (s *Server) web() string { return "http://" + s.Addrs[transport.WS] }

// signedInOver begins a session over HTTP with the password of a user.
func (s *Server) signedInOver(t *testing.T, name string) *parley.Client {
	t.Helper()
	c, err := parley.SignIn(t.Context(), s.web(), AOR(name), Password(name), parley.WithHTTPClient(client), parley.WithDevice("test of "+t.Name(), "desktop"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answer is what came of a call as plain JSON.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) String() string { return fmt.Sprint(a.status, " ", a.header, " ", a.body) }

// call calls a procedure ("SessionService/SignIn") with JSON, as curl and browsers do; headers come in pairs.
func (s *Server) call(t *testing.T, procedure, body string, headers ...string) answer {
	t.Helper()
	return s.ask(t, http.MethodPost, "/parley.v1."+procedure, strings.NewReader(body), append([]string{"Content-Type", "application/json"}, headers...)...)
}

func (s *Server) ask(t *testing.T, method, path string, body io.Reader, headers ...string) answer {
	t.Helper()
	return ask(t, client, method, s.web()+path, body, headers...)
}

// ask asks as a client; headers come in pairs.
func ask(t *testing.T, c *http.Client, method, url string, body io.Reader, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// refused checks status and reason of an answer.
func refused(t *testing.T, what string, a answer, status int, reason string) {
	t.Helper()
	if a.status != status || a.header.Get("Parley-Reason") != reason {
		t.Errorf("%s: %v, want %d %s", what, a, status, reason)
	}
}

const passwordOfAlice = `{"address":"alice","password":"secret of alice@example.com"`

// Somebody signs in, with a token or a cookie, says who it is, and signs out.
func TestSignIn(t *testing.T) {
	t.Parallel()
	s := Start(t)
	a := s.call(t, "SessionService/SignIn", passwordOfAlice+`,"device":"Firefox on Linux","kind":"tablet"}`)
	var in struct {
		Token   string
		Session struct{ ID, Address, Name string }
	}
	if err := json.Unmarshal([]byte(a.body), &in); err != nil || a.status != 200 || len(in.Token) != 43 || in.Session.Address != "alice@example.com" || a.header.Get("Set-Cookie") != "" {
		t.Fatal(a, err)
	}
	bearer := []string{"Authorization", "Bearer " + in.Token}
	if a = s.call(t, "SessionService/GetSession", `{}`, bearer...); a.status != 200 || !strings.Contains(a.body, `"address":"alice@example.com"`) || !strings.Contains(a.body, in.Session.ID) {
		t.Error(a)
	}
	if a = s.call(t, "DeviceService/ListOwnDevices", `{}`, bearer...); !strings.Contains(a.body, `"label":"Firefox on Linux"`) || !strings.Contains(a.body, `"current":true`) {
		t.Error(a)
	}
	if a = s.call(t, "SessionService/SignOut", `{}`, bearer...); a.status != 200 {
		t.Error(a)
	}
	refused(t, "after signing out", s.call(t, "SessionService/GetSession", `{}`, bearer...), 401, "session-ended")

	// The same with a cookie, which scripts cannot read and pages of others cannot send.
	a = s.call(t, "SessionService/SignIn", passwordOfAlice+`,"cookie":true}`, "Sec-Fetch-Site", "same-origin")
	set := a.header.Get("Set-Cookie")
	for _, want := range []string{"parley=", "Path=/", "HttpOnly", "SameSite=Strict", "Max-Age="} {
		if !strings.Contains(set, want) {
			t.Errorf("cookie %q lacks %s", set, want)
		}
	}
	if strings.Contains(a.body, "token") {
		t.Errorf("a script can read the token: %s", a.body)
	}
	cookie := []string{"Cookie", strings.Split(set, ";")[0], "Sec-Fetch-Site", "same-origin"}
	if a = s.call(t, "SessionService/GetSession", `{}`, cookie...); a.status != 200 {
		t.Error(a)
	}
	if a = s.call(t, "SessionService/SignOut", `{}`, cookie...); !strings.Contains(a.header.Get("Set-Cookie"), "Max-Age=0") {
		t.Error(a)
	}
	refused(t, "after signing out", s.call(t, "SessionService/GetSession", `{}`, cookie...), 401, "session-ended")
}

// What a wrong password, an address that nobody has and the password of a device get is the same.
func TestSignInRefused(t *testing.T) {
	t.Parallel()
	s := Start(t)
	alice := s.signedInOver(t, "alice")
	device, err := alice.Devices.MakeDevicePassword(t.Context(), connect.NewRequest(&v1.MakeDevicePasswordRequest{Label: "desk phone"}))
	if err != nil {
		t.Fatal(err)
	}
	if m := device.Msg; m.User != "alice" || m.Domain != Domain || !strings.HasPrefix(m.Proxy, "sip:127.0.0.1:") {
		t.Errorf("what to type: %v", m)
	}
	phone := s.UA("alice", transport.TCP)
	phone.Password = device.Msg.Password
	phone.Register() // that is what it is for
	try := func(address, password string) answer {
		return s.call(t, "SessionService/SignIn", fmt.Sprintf(`{"address":%q,"password":%q}`, address, password))
	}
	var bodies []string
	for _, a := range []answer{try("bob@example.com", "wrong"), try("nobody@example.com", "wrong"), try("carol@example.com", device.Msg.Password),
		try("alice@example.com", device.Msg.Password), try("not an address", "wrong"), try("", ""), try("bob@elsewhere.example", "wrong")} {
		refused(t, "wrong", a, 401, "wrong-password")
		bodies = append(bodies, a.body)
	}
	for _, b := range bodies[1:] {
		if b != bodies[0] {
			t.Errorf("%s and %s", bodies[0], b)
		}
	}
	// After too many nobody is let in, not even with the right one, and is told for how long.
	for range s.Config.Limits.PasswordFailures {
		try("bob@example.com", "wrong")
	}
	a := try("bob@example.com", Password("bob"))
	refused(t, "locked", a, 429, "locked-out")
	if a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "resource_exhausted") {
		t.Error(a)
	}
	if _, err := s.API.Users.SetDisabled(t.Context(), connect.NewRequest(&v1.SetDisabledRequest{Address: AOR("carol"), Disabled: true})); err != nil {
		t.Fatal(err)
	}
	refused(t, "disabled", try("carol@example.com", Password("carol")), 403, "account-disabled")
	refused(t, "disabled and wrong", try("carol@example.com", "wrong"), 401, "wrong-password")
}

// Without a session there is nothing but the sign-in, and people are no administrators.
func TestDoorIsClosed(t *testing.T) {
	t.Parallel()
	s := Start(t)
	for _, procedure := range []string{"UserService/ListUsers", "ArchiveService/Search", "StatusService/Status", "PeopleService/FindPeople", "ContactService/ListContacts",
		"PresenceService/GetPresence", "SessionService/GetSession", "SessionService/SetOwnProfile", "SessionService/ChangePassword", "SessionService/SetActivity", "SessionService/SignOut",
		"DeviceService/ListOwnDevices", "DeviceService/MakeDevicePassword", "DeviceService/RevokeDevice", "SettingsService/GetSettings", "SettingsService/AddPush",
		"MessageService/Send", "ConversationService/ListConversations", "EventService/Stream", "FileService/CreateUpload", "NoService/Nothing"} {
		refused(t, procedure, s.call(t, procedure, `{}`), 401, "unauthorized")
		refused(t, procedure+" with a guess", s.call(t, procedure, `{}`, "Authorization", "Bearer "+strings.Repeat("A", 43)), 401, "session-ended")
	}
	bob := s.signedInOver(t, "bob")
	for what, err := range map[string]error{
		"list users": ignore(bob.Users.ListUsers(t.Context(), connect.NewRequest(&v1.ListUsersRequest{}))),
		"search":     ignore(bob.Archive.Search(t.Context(), connect.NewRequest(&v1.SearchRequest{}))),
		"status":     ignore(bob.Status.Status(t.Context(), connect.NewRequest(&v1.StatusRequest{}))),
		"contacts":   ignore(bob.Contacts.ListContacts(t.Context(), connect.NewRequest(&v1.ListContactsRequest{Owner: AOR("alice")}))),
	} {
		if connect.CodeOf(err) != connect.CodePermissionDenied {
			t.Errorf("%s, for bob: %v", what, err)
		}
	}
	if status, body := get(t, s.web()+"/demo.json"); status != 404 {
		t.Errorf("a server that is no demonstration offers %d %s", status, body)
	}
}

func ignore[T any](_ T, err error) error { return err }

// Pages of other sites can neither call the API nor open a WebSocket, with a cookie or without.
func TestForeignPages(t *testing.T) {
	t.Parallel()
	const friend = "https://friend.example"
	s := Start(t, func(c *config.Config) { c.HTTP.Origins = []string{friend} })
	host := s.Addrs[transport.WS]
	a := s.call(t, "SessionService/SignIn", passwordOfAlice+`,"cookie":true}`, "Origin", "http://"+host)
	cookie := strings.Split(a.header.Get("Set-Cookie"), ";")[0]
	if a.status != 200 || cookie == "" {
		t.Fatal(a)
	}
	whoami := func(headers ...string) answer {
		return s.call(t, "SessionService/GetSession", `{}`, append(headers, "Cookie", cookie)...)
	}
	for _, origin := range []string{"https://evil.example", "http://evil.example", "null", "http://" + host + ".evil.example", "http://localhost:1", "https://friend.example.evil.example"} {
		refused(t, origin, whoami("Origin", origin), 403, "origin")
		refused(t, origin+" signs in", s.call(t, "SessionService/SignIn", passwordOfAlice+`}`, "Origin", origin), 403, "origin")
		refused(t, origin+" opens a WebSocket", s.ask(t, http.MethodGet, "/sip", nil, "Origin", origin, "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13",
			"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol", "sip", "Cookie", cookie), 403, "origin")
		refused(t, origin+" asks first", s.ask(t, http.MethodOptions, "/parley.v1.SessionService/GetSession", nil, "Origin", origin,
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type"), 403, "origin")
	}
	// CSRF: browsers send the cookie by themselves; what does not say that it comes from here does not count.
	refused(t, "no origin at all", whoami(), 403, "origin")
	refused(t, "a neighbour", whoami("Sec-Fetch-Site", "same-site"), 403, "origin")
	refused(t, "elsewhere", whoami("Sec-Fetch-Site", "cross-site"), 403, "origin")
	for _, simple := range []string{"text/plain", "text/plain;charset=utf-8", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""} {
		refused(t, "a form with "+simple, whoami("Sec-Fetch-Site", "same-origin", "Content-Type", simple), 415, "media-type")
	}
	if a := whoami("Origin", "http://"+host); a.status != 200 {
		t.Error("own page:", a)
	}
	// An origin that the configuration names may call, with a token and after asking.
	token := s.call(t, "SessionService/SignIn", passwordOfAlice+`}`, "Origin", friend)
	if token.status != 200 || token.header.Get("Access-Control-Allow-Origin") != friend || token.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Error("friend:", token)
	}
	refused(t, "friend with a cookie", whoami("Origin", friend), 403, "origin")
	if a := s.ask(t, http.MethodOptions, "/parley.v1.SessionService/GetSession", nil, "Origin", friend, "Access-Control-Request-Method", "POST"); a.status != 204 ||
		!strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Error("friend asks first:", a)
	}
}

// A cookie that somebody planted before is not taken over by the session that begins.
func TestFixation(t *testing.T) {
	t.Parallel()
	s := Start(t)
	planted := "parley=" + strings.Repeat("B", 43)
	a := s.call(t, "SessionService/SignIn", passwordOfAlice+`,"cookie":true}`, "Sec-Fetch-Site", "same-origin", "Cookie", planted)
	first := strings.Split(a.header.Get("Set-Cookie"), ";")[0]
	if a.status != 200 || first == planted {
		t.Fatal(a)
	}
	refused(t, "the planted one", s.call(t, "SessionService/GetSession", `{}`, "Sec-Fetch-Site", "same-origin", "Cookie", planted), 401, "session-ended")
	a = s.call(t, "SessionService/SignIn", passwordOfAlice+`,"cookie":true}`, "Sec-Fetch-Site", "same-origin", "Cookie", first)
	if second := strings.Split(a.header.Get("Set-Cookie"), ";")[0]; a.status != 200 || second == first {
		t.Error("the second sign-in has the session of the first", a)
	}
}

// What is sent is bounded, also when it is small before it is unpacked.
func TestRequestBombs(t *testing.T) {
	t.Parallel()
	s := Start(t)
	alice := s.signedInOver(t, "alice")
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	if _, err := io.CopyN(zip, zeros{}, 100<<20); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	for _, procedure := range []string{"SessionService/SignIn", "SettingsService/SetSettings", "ContactService/AddContacts"} {
		a := s.ask(t, http.MethodPost, "/parley.v1."+procedure, bytes.NewReader(bomb.Bytes()), "Content-Type", "application/json", "Content-Encoding", "gzip",
			"Authorization", "Bearer "+alice.Token())
		if a.status != 429 || !strings.Contains(a.body, "resource_exhausted") {
			t.Errorf("%s: %v", procedure, a)
		}
		a = s.call(t, procedure, `{"address":"`+strings.Repeat("x", 17<<20)+`"}`, "Authorization", "Bearer "+alice.Token())
		if a.status != 429 {
			t.Errorf("%s, not packed: %d %.200s", procedure, a.status, a.body)
		}
	}
	for what, body := range map[string]string{"no JSON": "{", "another type": `{"address":{}}`, "deep": strings.Repeat("[", 10_000), "nothing": ""} {
		if a := s.call(t, "SessionService/SignIn", body); a.status != 400 && a.status != 401 {
			t.Errorf("%s: %v", what, a)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

// A session that calls without end is asked to wait; others are not disturbed.
func TestCallRate(t *testing.T) {
	t.Parallel()
	s := Start(t, func(c *config.Config) { c.HTTP.Rate = 2 })
	alice, bob := s.signedInOver(t, "alice"), s.signedInOver(t, "bob")
	whoami := func(c *parley.Client) answer {
		return s.call(t, "SettingsService/GetSettings", `{}`, "Authorization", "Bearer "+c.Token())
	}
	var a answer
	for range 1000 {
		if a = whoami(alice); a.status != 200 {
			break
		}
	}
	refused(t, "alice", a, 429, "rate")
	if a.header.Get("Retry-After") == "" {
		t.Error(a)
	}
	if a := whoami(bob); a.status != 200 {
		t.Error("bob:", a)
	}
}

// Who signs in and out all the time from one address is asked to wait.
func TestSignInRate(t *testing.T) {
	t.Parallel()
	s := Start(t, func(c *config.Config) { c.HTTP.SignInRate = 1 })
	var a answer
	for range 1000 {
		if a = s.call(t, "SessionService/SignIn", `{"address":"alice","kind":"none"}`); a.status != 400 {
			break
		}
	}
	refused(t, "too many", a, 429, "rate")
}

// Sessions end at once when the account is disabled, removed or gets another password, when they are revoked, and outlive a
// restart otherwise.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	s := Start(t, SamePorts(t))
	ctx := t.Context()
	in := func(c *parley.Client) bool {
		_, err := c.Sessions.GetSession(ctx, connect.NewRequest(&v1.GetSessionRequest{}))
		if err != nil && connect.CodeOf(err) != connect.CodeUnauthenticated {
			t.Errorf("neither in nor out: %v", err)
		}
		return err == nil
	}
	alice, other := s.signedInOver(t, "alice"), s.signedInOver(t, "alice")
	bob, carol := s.signedInOver(t, "bob"), s.signedInOver(t, "carol")
	s.Restart()
	if !in(alice) || !in(other) || !in(bob) || !in(carol) {
		t.Fatal("a session did not outlive the restart")
	}
	if _, err := bob.Devices.RevokeDevice(ctx, connect.NewRequest(&v1.RevokeDeviceRequest{Kind: "session", Id: alice.Session().Id})); connect.CodeOf(err) != connect.CodeNotFound || !in(alice) {
		t.Errorf("bob ends a session of alice: %v", err)
	}
	third := s.signedInOver(t, "alice")
	if _, err := alice.Devices.RevokeDevice(ctx, connect.NewRequest(&v1.RevokeDeviceRequest{Kind: "session", Id: third.Session().Id})); err != nil || in(third) || !in(alice) {
		t.Errorf("revoked: %v", err)
	}
	// A new password ends all but the session that set it, and SIP devices.
	phone := s.SignedIn("alice", transport.TCP)
	_, err := alice.Sessions.ChangePassword(ctx, connect.NewRequest(&v1.ChangePasswordRequest{OldPassword: "wrong", NewPassword: "new secret"}))
	if connect.CodeOf(err) != connect.CodePermissionDenied || !in(other) {
		t.Errorf("with a wrong old password: %v", err)
	}
	if _, err := alice.Sessions.ChangePassword(ctx, connect.NewRequest(&v1.ChangePasswordRequest{OldPassword: Password("alice"), NewPassword: "new secret"})); err != nil {
		t.Fatal(err)
	}
	if in(other) || !in(alice) {
		t.Errorf("after the new password: other %v, own %v", in(other), in(alice))
	}
	s.Eventually("the phone is signed out", func() bool {
		list, err := alice.Devices.ListOwnDevices(ctx, connect.NewRequest(&v1.ListOwnDevicesRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list.Msg.Devices {
			if d.Kind == "sip" {
				return false
			}
		}
		return len(list.Msg.Devices) == 1
	})
	_ = phone
	s.Restart()
	if in(other) || !in(alice) {
		t.Errorf("after the new password and a restart: other %v, own %v", in(other), in(alice))
	}
	if _, err := parley.SignIn(ctx, s.web(), AOR("alice"), Password("alice"), parley.WithHTTPClient(client)); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("the old password: %v", err)
	}
	if _, err := s.API.Users.SetPassword(ctx, connect.NewRequest(&v1.SetPasswordRequest{Address: AOR("alice"), Password: "again"})); err != nil || in(alice) {
		t.Errorf("a password set by an administrator: %v", err)
	}
	if _, err := s.API.Users.SetDisabled(ctx, connect.NewRequest(&v1.SetDisabledRequest{Address: AOR("bob"), Disabled: true})); err != nil || in(bob) {
		t.Errorf("disabled: %v", err)
	}
	if _, err := s.API.Users.SetDisabled(ctx, connect.NewRequest(&v1.SetDisabledRequest{Address: AOR("bob")})); err != nil || in(bob) {
		t.Errorf("enabled again, the old session goes on: %v", err)
	}
	if _, err := s.API.Users.RemoveUser(ctx, connect.NewRequest(&v1.RemoveUserRequest{Address: AOR("carol")})); err != nil || in(carol) {
		t.Errorf("removed: %v", err)
	}
}

// A SIP device is signed out by its owner, and by nobody else.
func TestOwnDevices(t *testing.T) {
	t.Parallel()
	s := Start(t)
	ctx := t.Context()
	alice, bob := s.signedInOver(t, "alice"), s.signedInOver(t, "bob")
	s.SignedIn("alice", transport.TCP)
	sipOf := func(c *parley.Client) (list []*v1.OwnDevice) {
		resp, err := c.Devices.ListOwnDevices(ctx, connect.NewRequest(&v1.ListOwnDevicesRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range resp.Msg.Devices {
			if d.Kind == "sip" {
				list = append(list, d)
			}
		}
		return list
	}
	mine := sipOf(alice)
	if len(mine) != 1 || mine[0].Transport != "tcp" || mine[0].Address != "127.0.0.1" || mine[0].Created == nil || len(sipOf(bob)) != 0 {
		t.Fatal(mine, sipOf(bob))
	}
	revoke := func(c *parley.Client, kind, id string) error {
		return ignore(c.Devices.RevokeDevice(ctx, connect.NewRequest(&v1.RevokeDeviceRequest{Kind: kind, Id: id})))
	}
	if err := revoke(bob, "sip", mine[0].Id); connect.CodeOf(err) != connect.CodeNotFound || len(sipOf(alice)) != 1 {
		t.Errorf("bob: %v", err)
	}
	if err := revoke(alice, "sip", mine[0].Id); err != nil || len(sipOf(alice)) != 0 {
		t.Errorf("alice: %v", err)
	}
	if err := revoke(alice, "toaster", "x"); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a toaster: %v", err)
	}
	made, err := alice.Devices.MakeDevicePassword(ctx, connect.NewRequest(&v1.MakeDevicePasswordRequest{Label: "desk phone"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := revoke(bob, "password", made.Msg.Id); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("bob: %v", err)
	}
	phone := s.UA("alice", transport.TCP)
	phone.Password = made.Msg.Password
	phone.Register()
	if err := revoke(alice, "password", made.Msg.Id); err != nil || len(sipOf(alice)) != 0 {
		t.Errorf("alice: %v", err)
	}
}

// Settings are one person's, on all devices, and bounded.
func TestSettings(t *testing.T) {
	t.Parallel()
	s := Start(t, SamePorts(t))
	ctx := t.Context()
	alice, other, bob := s.signedInOver(t, "alice"), s.signedInOver(t, "alice"), s.signedInOver(t, "bob")
	set := func(c *parley.Client, m map[string]string) (map[string]string, error) {
		resp, err := c.Settings.SetSettings(ctx, connect.NewRequest(&v1.SetSettingsRequest{Settings: m}))
		if err != nil {
			return nil, err
		}
		return resp.Msg.Settings, nil
	}
	have := func(c *parley.Client) string {
		resp, err := c.Settings.GetSettings(ctx, connect.NewRequest(&v1.GetSettingsRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(resp.Msg.Settings)
	}
	if all, err := set(alice, map[string]string{"theme": "dark", "receipts": "off", "sound": "on"}); err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	if all, err := set(other, map[string]string{"sound": "", "theme": "<script>"}); err != nil || len(all) != 2 {
		t.Error(all, err)
	}
	s.Restart()
	if got := have(alice); got != "map[receipts:off theme:<script>]" || have(bob) != "map[]" {
		t.Error(got, have(bob))
	}
	many := map[string]string{}
	for i := range 201 {
		many[fmt.Sprint("n", i)] = "x"
	}
	large := map[string]string{}
	for i := range 17 {
		large[fmt.Sprint("n", i)] = strings.Repeat("x", 4<<10)
	}
	for what, m := range map[string]map[string]string{"many": many, "large": large} {
		if _, err := set(alice, m); connect.CodeOf(err) != connect.CodeResourceExhausted {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, m := range map[string]map[string]string{"a long value": {"n": strings.Repeat("x", 4<<10+1)}, "no name": {"": "x"}, "a long name": {strings.Repeat("n", 65): "x"}, "a bad name": {"a b": "x"},
		"a zero": {"n": "\x00"}} {
		if _, err := set(alice, m); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := have(alice); got != "map[receipts:off theme:<script>]" {
		t.Errorf("after what was refused: %s", got)
	}
}

// Notifications are for addresses of the Internet, with keys that are such, and for one's own session.
func TestPushSubscriptions(t *testing.T) {
	t.Parallel()
	s := Start(t)
	ctx := t.Context()
	alice := s.signedInOver(t, "alice")
	if key := alice.Session().GetServer().GetPushKey(); len(key) != 87 {
		t.Errorf("the server's key is %q", key)
	}
	const public, secret = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4", "BTBZMqHH6r4Tts7J_aSIgg"
	for what, req := range map[string]*v1.AddPushRequest{
		"without TLS": {Endpoint: "http://push.example.com/1", P256Dh: public, Auth: secret}, "this machine": {Endpoint: "https://127.0.0.1/1", P256Dh: public, Auth: secret},
		"another port": {Endpoint: "https://push.example.com:25/1", P256Dh: public, Auth: secret}, "a password": {Endpoint: "https://a:b@push.example.com/1", P256Dh: public, Auth: secret},
		"no key": {Endpoint: "https://push.example.com/1", P256Dh: "", Auth: secret}, "no secret": {Endpoint: "https://push.example.com/1", P256Dh: public},
		"no point": {Endpoint: "https://push.example.com/1", P256Dh: "B" + strings.Repeat("A", 86), Auth: secret}, "nothing": {}, "long": {Endpoint: "https://push.example.com/" + strings.Repeat("x", 3000), P256Dh: public, Auth: secret},
	} {
		if err := ignore(alice.Settings.AddPush(ctx, connect.NewRequest(req))); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := alice.Settings.AddPush(ctx, connect.NewRequest(&v1.AddPushRequest{Endpoint: "https://push.example.com/1", P256Dh: public, Auth: secret + "=="})); err != nil {
		t.Error(err)
	}
	if _, err := alice.Settings.RemovePush(ctx, connect.NewRequest(&v1.RemovePushRequest{Endpoint: "https://push.example.com/1"})); err != nil {
		t.Error(err)
	}
	if _, err := s.API.Settings.AddPush(ctx, connect.NewRequest(&v1.AddPushRequest{})); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("an administrator of the machine, who is nobody here: %v", err)
	}
}

// People change what they may of their profile, and nothing of others'.
func TestOwnProfile(t *testing.T) {
	t.Parallel()
	s := Start(t)
	alice := s.signedInOver(t, "alice")
	office := "2.14"
	resp, err := alice.Sessions.SetOwnProfile(t.Context(), connect.NewRequest(&v1.SetOwnProfileRequest{Office: &office}))
	if err != nil || resp.Msg.Profile.Office != office {
		t.Error(resp, err)
	}
	who, err := alice.Sessions.GetSession(t.Context(), connect.NewRequest(&v1.GetSessionRequest{}))
	if err != nil || who.Msg.Profile.GetOffice() != office || who.Msg.Server.MaxMessage == 0 || len(who.Msg.Server.Domains) != 1 {
		t.Error(who, err)
	}
	long := strings.Repeat("x", 10_000)
	if _, err := alice.Sessions.SetOwnProfile(t.Context(), connect.NewRequest(&v1.SetOwnProfileRequest{Phone: &long})); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a long number: %v", err)
	}
}

// The examples of the reference work as they are printed.
func TestReference(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("the examples of docs/api.md are not tried: there is no curl")
	}
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for _, b := range strings.Split(string(text), "```sh\n")[1:] {
		block, _, _ := strings.Cut(b, "```")
		script.WriteString(block)
	}
	s := Start(t)
	edit := strings.NewReplacer("http://localhost:8443", s.web(), "parley.test", Domain, "PASSWORD", Password("alice"), "-m 60", "-m 2")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", edit.Replace(script.String()))
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`{"message":{`, `"messages":[{`, `"text":"Hello from curl"`, `"text":"Here it is"`, `"sha256":"`, `"ready":{`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("there is no %s in\n%s", want, out)
		}
	}
}

// Whoever calls what is not there, or not as it must be called, is told so in the documented form.
func TestNotUnderstood(t *testing.T) {
	t.Parallel()
	s := Start(t)
	bearer := "Bearer " + s.signedInOver(t, "alice").Token()
	for _, c := range []struct {
		method, path, media string
		status              int
		code, text          string
	}{
		{http.MethodPost, "/parley.v1.MessageService/Sent", "application/json", 404, "unimplemented", "there is no call"},
		{http.MethodPost, "/parley.v1.Nothing/At", "application/json", 404, "unimplemented", "there is no call"},
		{http.MethodPost, "/parley.v1.SessionService/SignIn", "application/x-www-form-urlencoded", 415, "invalid_argument", "Content-Type: application/json"},
		{http.MethodPost, "/parley.v1.SessionService/SignIn", "", 415, "invalid_argument", "Content-Type: application/json"},
		{http.MethodPost, "/parley.v1.EventService/Stream", "application/json", 415, "invalid_argument", "Content-Type: application/connect+json"},
		{http.MethodGet, "/parley.v1.SessionService/SignIn", "", 405, "invalid_argument", "POST"},
	} {
		headers := []string{"Authorization", bearer}
		if c.media != "" {
			headers = append(headers, "Content-Type", c.media)
		}
		a := s.ask(t, c.method, c.path, strings.NewReader("{}"), headers...)
		var told struct{ Code, Message string }
		if err := json.Unmarshal([]byte(a.body), &told); err != nil || a.status != c.status || told.Code != c.code || !strings.Contains(told.Message, c.text) {
			t.Errorf("%s %s as %q: %v %v", c.method, c.path, c.media, a, err)
		}
	}
}

// Each answer says what browsers may do with it.
func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	s := Start(t)
	for _, a := range []answer{s.ask(t, http.MethodGet, "/", nil), s.ask(t, http.MethodGet, "/nothing", nil), s.ask(t, http.MethodGet, "/sip", nil), s.ask(t, http.MethodGet, "/files/x/y", nil)} {
		csp := a.header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "object-src 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%q lacks %s", csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "http") || strings.Contains(csp, "*") {
			t.Errorf("%q lets others in", csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin", "Strict-Transport-Security": ""} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
}

// Over TLS there is HTTP/2 for pages that listen in many tabs, HTTP/1.1 for WebSockets, and a cookie that no other host can set.
func TestDoorOverTLS(t *testing.T) {
	t.Parallel()
	s := Start(t, func(c *config.Config) { c.HTTP.TLS = "auto" })
	ca, err := os.ReadFile(filepath.Join(s.Config.Data, "tls", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	for _, h2 := range []bool{true, false} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: Domain}, ForceAttemptHTTP2: h2}
		defer tr.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.Addrs[transport.WSS]+"/parley.v1.SessionService/SignIn",
			strings.NewReader(passwordOfAlice+`,"cookie":true}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Origin", "https://"+s.Addrs[transport.WSS])
		resp, err := (&http.Client{Transport: tr, Timeout: Patience}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		set := resp.Header.Get("Set-Cookie")
		if resp.StatusCode != 200 || !strings.HasPrefix(set, "__Host-parley=") || !strings.Contains(set, "; Secure") || strings.Contains(set, "Domain") {
			t.Errorf("%s: cookie %q", resp.Status, set)
		}
		if got := resp.ProtoMajor == 2; got != h2 {
			t.Errorf("HTTP/2 %v: %s", h2, resp.Proto)
		}
		if resp.Header.Get("Strict-Transport-Security") != "" {
			t.Error("browsers that trust the own CA once would never open the page without it again")
		}
		req.Header.Set("Origin", "http://"+s.Addrs[transport.WSS])
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(`{}`)), 2
		if resp, err = (&http.Client{Transport: tr, Timeout: Patience}).Do(req); err != nil || resp.StatusCode != 403 {
			t.Errorf("a page without TLS: %v, %v", resp, err)
		} else {
			_ = resp.Body.Close()
		}
	}
	// Streams hear what is said, also after a while in which nothing was, and that their client has gone.
	for _, h2 := range []bool{true, false} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: Domain}, ForceAttemptHTTP2: h2}
		defer tr.CloseIdleConnections()
		c, err := parley.SignIn(t.Context(), "https://"+s.Addrs[transport.WSS], AOR("bob"), Password("bob"), parley.WithHTTPClient(&http.Client{Transport: tr}))
		if err != nil {
			t.Fatal(err)
		}
		events := listen(t, c, &v1.StreamRequest{})
		events.next("ready", isReady)
		for _, text := range []string{"one", "two"} {
			say(t, c, "carol", text)
			events.next(text, func(e *v1.Event) bool { return e.GetMessage().GetText() == text })
		}
		events.stop()
		s.Eventually("no stream", func() bool { _, page := s.Get("/metrics"); return strings.Contains(page, "\nparley_feed_streams 0\n") })
	}
	alice, bob := s.SignedIn("alice", transport.WSS), s.SignedIn("bob", transport.WSS)
	exchange(t, alice, bob, "over a WebSocket beside HTTP/2")
}

// Many who sign in at once all come in: passwords are looked at a few at a time.
func TestSignInCrowd(t *testing.T) {
	t.Parallel()
	s := Start(t, func(c *config.Config) { c.HTTP.SignInRate = 0 })
	var wg sync.WaitGroup
	errs := make(chan error, 12)
	for range cap(errs) {
		wg.Go(func() {
			_, err := parley.SignIn(t.Context(), s.web(), "alice", Password("alice"), parley.WithHTTPClient(client))
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	alice := s.signedInOver(t, "alice")
	list, err := alice.Devices.ListOwnDevices(t.Context(), connect.NewRequest(&v1.ListOwnDevicesRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(list.Msg.Devices); n != cap(errs)+1 || !list.Msg.Devices[n-1].Current {
		t.Errorf("%d devices, the newest %v", n, list.Msg.Devices[n-1])
	}
}
