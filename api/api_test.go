package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/api"
	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/api/parley/v1/parleyv1connect"
	"github.com/parley-im/parley/auth"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/service/archive"
	"github.com/parley-im/parley/service/contact"
	"github.com/parley-im/parley/service/directory"
	"github.com/parley-im/parley/service/presence"
	"github.com/parley-im/parley/service/presence/compose"
	"github.com/parley-im/parley/store"
	"github.com/parley-im/parley/store/sqlstore"
)

type parts struct {
	store.Log
	store.Index
	store.Contacts
	store.Presence
	accounts
}

type accounts interface{ store.Users }

// rig is the API on a Unix socket over a real store, and the clients that call it.
type rig struct {
	client
	t      *testing.T
	ctx    context.Context
	socket string
	store  parts
	people *crowd
	stop   func() // the store, so that nothing can be recorded
	log    lockedBuffer
	user   atomic.Value // AOR who signs in with the next connection; "" for an administrator of the machine
}

type client struct {
	Users    parleyv1connect.UserServiceClient
	Archive  parleyv1connect.ArchiveServiceClient
	Status   parleyv1connect.StatusServiceClient
	People   parleyv1connect.PeopleServiceClient
	Contacts parleyv1connect.ContactServiceClient
	Presence parleyv1connect.PresenceServiceClient
}

// http is a client that talks to the socket whatever the URL.
func (r *rig) http() *http.Client {
	hc := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", r.socket)
	}}}
	r.t.Cleanup(hc.CloseIdleConnections)
	return hc
}

// reason is the sentence of an error.
func reason(err error) string {
	if e, ok := errors.AsType[*connect.Error](err); ok {
		return e.Message()
	}
	return fmt.Sprint(err)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// running stands for what package server fills in.
type running struct{ err error }

func (r running) Status(context.Context) (*v1.StatusResponse, error) {
	return &v1.StatusResponse{Version: "test", Users: 3}, r.err
}

func (r running) Backup(_ context.Context, w io.Writer) error {
	if r.err != nil {
		return r.err
	}
	_, err := w.Write(bytes.Repeat([]byte("0123456789"), 50_000))
	return err
}

func (running) Bindings(aor string) []store.Binding {
	return []store.Binding{{AOR: aor, Contact: "sip:x@192.0.2.1", Device: "desk", UserAgent: "Phone/1", Transport: "tls", Remote: "192.0.2.1:4000", Expires: time.Unix(1e9, 0)}}
}

func start(t *testing.T, change ...func(*api.Options)) *rig {
	dir := t.TempDir()
	st, err := sqlstore.Open(t.Context(), sqlstore.Options{Dir: dir, Log: slog.New(slog.DiscardHandler), Text: func(r *store.Record) string { return string(r.Body) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = st.Serve(ctx) })
	r := &rig{t: t, ctx: t.Context(), store: parts{st.Log(), st.Index(), st.Contacts(), st.Presence(), st.Users()}, socket: filepath.Join(dir, "s")}
	r.stop = func() { cancel(); wg.Wait() }
	keys, err := auth.OpenKeys(t.Context(), filepath.Join(dir, "key"), st.Settings())
	if err != nil {
		t.Fatal(err)
	}
	o := api.Options{
		Directory: directory.New(directory.Options{Store: r.store, People: st.People(), Keys: keys, Domains: []string{"example.com"}, Changed: func(string, directory.Change) {}}),
		Contacts:  contact.New(contact.Options{Store: r.store, Domains: []string{"example.com"}, Changed: func(contact.Change) {}}),
		Archive:   archive.New(r.store, nil), Devices: running{}, Server: running{}, Log: slog.New(slog.NewTextHandler(&r.log, nil)),
	}
	r.people = &crowd{store: r.store, contacts: o.Contacts, devices: map[string][]compose.Device{}}
	agent := presence.New(presence.Options{Domains: []string{"example.com"}, Store: r.store, Accounts: r.people, Contacts: r.people, Devices: r.people.at})
	if err := agent.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { _ = agent.Serve(ctx) })
	o.Presence, r.people.agent = agent, agent
	for _, f := range change {
		f(&o)
	}
	l, err := net.Listen("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: api.Handler(o), ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
		if user, _ := r.user.Load().(string); user != "" {
			return api.WithUser(ctx, user, false)
		}
		return api.WithCaller(ctx, "tester@localhost")
	}}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		_ = server.Close()
		served.Wait()
		r.stop()
		_ = st.Close()
	})
	hc := r.http()
	r.client = client{
		parleyv1connect.NewUserServiceClient(hc, "http://parley"), parleyv1connect.NewArchiveServiceClient(hc, "http://parley"),
		parleyv1connect.NewStatusServiceClient(hc, "http://parley"), parleyv1connect.NewPeopleServiceClient(hc, "http://parley"),
		parleyv1connect.NewContactServiceClient(hc, "http://parley"), parleyv1connect.NewPresenceServiceClient(hc, "http://parley"),
	}
	return r
}

func (r *rig) add(addresses ...string) {
	r.t.Helper()
	req := &v1.AddUsersRequest{}
	for _, a := range addresses {
		req.Users = append(req.Users, &v1.NewUser{Address: a, Name: "N", Password: "secret"})
	}
	if resp, err := r.Users.AddUsers(r.ctx, connect.NewRequest(req)); err != nil || int(resp.Msg.Added) != len(addresses) {
		r.t.Fatal(resp, err)
	}
}

// refused checks the code of an error and that its sentence is for people.
func (r *rig) refused(what string, err error, code connect.Code, says string) {
	r.t.Helper()
	if connect.CodeOf(err) != code || err == nil {
		r.t.Errorf("%s: %v, want %v", what, err, code)
		return
	}
	text := reason(err)
	if !strings.Contains(text, says) {
		r.t.Errorf("%s: %q does not say %q", what, text, says)
	}
	for _, jargon := range []string{"directory:", "sqlstore:", "archive:", "store:", "errs", "SQL"} {
		if strings.Contains(text, jargon) {
			r.t.Errorf("%s: %q speaks of %q", what, text, jargon)
		}
	}
}

func TestUsers(t *testing.T) {
	r := start(t)
	r.add("alice@example.com", "bob@example.com", "carol@example.com")
	list, err := r.Users.ListUsers(r.ctx, connect.NewRequest(&v1.ListUsersRequest{Limit: 2}))
	if err != nil || len(list.Msg.Users) != 2 || !list.Msg.More {
		t.Fatal(list, err)
	}
	list, err = r.Users.ListUsers(r.ctx, connect.NewRequest(&v1.ListUsersRequest{Limit: 2, After: list.Msg.Users[1].Address}))
	if err != nil || len(list.Msg.Users) != 1 || list.Msg.More || list.Msg.Users[0].Address != "carol@example.com" {
		t.Fatal(list, err)
	}
	device, err := r.Users.AddDevicePassword(r.ctx, connect.NewRequest(&v1.AddDevicePasswordRequest{Address: "bob@example.com", Label: "desk"}))
	if err != nil || device.Msg.Password == "" {
		t.Fatal(device, err)
	}
	if _, err := r.Users.SetDisabled(r.ctx, connect.NewRequest(&v1.SetDisabledRequest{Address: "bob@example.com", Disabled: true})); err != nil {
		t.Fatal(err)
	}
	bob, err := r.Users.GetUser(r.ctx, connect.NewRequest(&v1.GetUserRequest{Address: "bob@example.com"}))
	if err != nil {
		t.Fatal(err)
	}
	u, m := bob.Msg.User, bob.Msg
	if !u.Disabled || u.Created == nil || u.Name != "N" || len(m.Bindings) != 1 || m.Bindings[0].Device != "desk" || len(m.DevicePasswords) != 1 || m.DevicePasswords[0].Label != "desk" || m.DevicePasswords[0].LastUsed != nil {
		t.Errorf("bob: %v", m)
	}
	if _, err := r.Users.RevokeDevicePassword(r.ctx, connect.NewRequest(&v1.RevokeDevicePasswordRequest{Address: "bob@example.com", Id: m.DevicePasswords[0].Id})); err != nil {
		t.Error(err)
	}
	if _, err := r.Users.SetPassword(r.ctx, connect.NewRequest(&v1.SetPasswordRequest{Address: "bob@example.com", Password: "new"})); err != nil {
		t.Error(err)
	}
	if _, err := r.Users.RemoveUser(r.ctx, connect.NewRequest(&v1.RemoveUserRequest{Address: "bob@example.com"})); err != nil {
		t.Error(err)
	}
	// The caller's name is in every record.
	acts, err := r.Archive.Search(r.ctx, connect.NewRequest(&v1.SearchRequest{Kinds: []string{"admin"}, OldestFirst: true}))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, rec := range acts.Msg.Records {
		if rec.From != "tester@localhost" || rec.Meta["via"] != "api" || len(rec.Hash) != 64 || rec.Time == nil {
			t.Errorf("record %v", rec)
		}
		got = append(got, rec.Meta["action"])
	}
	if want := "user.add user.add user.add device.add user.disable device.revoke user.passwd user.remove"; strings.Join(got, " ") != want {
		t.Errorf("acts %q, want %q", got, want)
	}
}

// Each mistake has its code, and a sentence that says what to do.
func TestErrors(t *testing.T) {
	r := start(t)
	r.add("alice@example.com")
	add := func(address, password string) error {
		_, err := r.Users.AddUsers(r.ctx, connect.NewRequest(&v1.AddUsersRequest{Users: []*v1.NewUser{{Address: address, Password: password}}}))
		return err
	}
	get := func(address string) error {
		_, err := r.Users.GetUser(r.ctx, connect.NewRequest(&v1.GetUserRequest{Address: address}))
		return err
	}
	list := func(limit int32) error {
		_, err := r.Users.ListUsers(r.ctx, connect.NewRequest(&v1.ListUsersRequest{Limit: limit}))
		return err
	}
	search := func(req *v1.SearchRequest) error {
		_, err := r.Archive.Search(r.ctx, connect.NewRequest(req))
		return err
	}
	r.refused("taken", add("alice@example.com", "p"), connect.CodeAlreadyExists, "there is already a user alice@example.com")
	r.refused("no password", add("bob@example.com", ""), connect.CodeInvalidArgument, "the password of bob@example.com cannot be used: it is empty")
	r.refused("no address", add("bob", "p"), connect.CodeInvalidArgument, `"bob" is not an address; write it as alice@example.com`)
	r.refused("domain", add("bob@other.net", "p"), connect.CodeInvalidArgument, "bob@other.net is not in a domain of this server (example.com)")
	r.refused("nobody", get("bob@example.com"), connect.CodeNotFound, "there is no user bob@example.com")
	r.refused("limit", list(-1), connect.CodeInvalidArgument, "between 1 and 10000")
	r.refused("limit", list(10_001), connect.CodeInvalidArgument, "between 1 and 10000")
	r.refused("search limit", search(&v1.SearchRequest{Limit: 1001}), connect.CodeInvalidArgument, "between 1 and 1000")
	r.refused("words", search(&v1.SearchRequest{Words: "..."}), connect.CodeInvalidArgument, "there is no word")
	r.refused("time", search(&v1.SearchRequest{Since: timestamppb.New(time.Unix(100, 0)), Until: timestamppb.New(time.Unix(1, 0))}), connect.CodeInvalidArgument, "before it begins")
	_, err := r.Users.RevokeDevicePassword(r.ctx, connect.NewRequest(&v1.RevokeDevicePasswordRequest{Address: "alice@example.com", Id: "x"}))
	r.refused("device", err, connect.CodeNotFound, `alice@example.com has no device password "x"`)
	if log := r.log.String(); log != "" {
		t.Errorf("the mistakes of callers are in the log: %s", log)
	}
	r.stop()
	r.refused("unrecorded", add("bob@example.com", "p"), connect.CodeUnavailable, "nothing was changed, because it could not be recorded")
	r.refused("unrecorded", search(&v1.SearchRequest{}), connect.CodeUnavailable, "the archive was not searched")
	if log := r.log.String(); !strings.Contains(log, "AddUsers") || !strings.Contains(log, "closed") {
		t.Errorf("what failed is not in the log: %s", log)
	}
}

// What is our own mistake is told without its inside, which is in the log.
func TestInternal(t *testing.T) {
	r := start(t, func(o *api.Options) { o.Server = running{errs.New(errs.Internal, "server: the secret inside")} })
	_, err := r.Status.Status(r.ctx, connect.NewRequest(&v1.StatusRequest{}))
	r.refused("internal", err, connect.CodeInternal, "The server made a mistake")
	stream, err := r.Status.Backup(r.ctx, connect.NewRequest(&v1.BackupRequest{}))
	if err != nil || stream.Receive() {
		t.Fatal("received from a failed backup", err)
	}
	r.refused("internal", stream.Err(), connect.CodeInternal, "The server made a mistake")
	if strings.Contains(reason(stream.Err()), "inside") || !strings.Contains(r.log.String(), "the secret inside") {
		t.Errorf("told %q, logged %q", stream.Err(), r.log.String())
	}
}

func TestNoServer(t *testing.T) {
	r := start(t, func(o *api.Options) { o.Server, o.Devices = nil, nil })
	_, err := r.Status.Status(r.ctx, connect.NewRequest(&v1.StatusRequest{}))
	r.refused("status", err, connect.CodeUnavailable, "parley serve")
	r.add("alice@example.com")
	if u, err := r.Users.GetUser(r.ctx, connect.NewRequest(&v1.GetUserRequest{Address: "alice@example.com"})); err != nil || len(u.Msg.Bindings) != 0 {
		t.Error(u, err)
	}
}

func TestTooLarge(t *testing.T) {
	r := start(t)
	_, err := r.Users.AddUsers(r.ctx, connect.NewRequest(&v1.AddUsersRequest{Users: []*v1.NewUser{{Address: strings.Repeat("x", 17<<20)}}}))
	r.refused("large", err, connect.CodeResourceExhausted, "larger")
	r.add("alice@example.com") // the connection and the server go on
}

// The API speaks plain JSON as well, for curl.
func TestJSON(t *testing.T) {
	r := start(t)
	post := func(path, body string) (int, string) {
		t.Helper()
		resp, err := r.http().Post("http://parley/parley.v1."+path, "application/json", strings.NewReader(body))
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
	if code, text := post("UserService/AddUsers", `{"users":[{"address":"alice@example.com","password":"p"}]}`); code != 200 || text != `{"added":1}` {
		t.Error(code, text)
	}
	if code, text := post("UserService/AddUsers", `{"users":[{"address":"alice@example.com","password":"p"}]}`); code != 409 || !strings.Contains(text, `"already_exists"`) {
		t.Error(code, text)
	}
	if code, text := post("UserService/AddUsers", `{`); code != 400 {
		t.Error(code, text)
	}
	if code, _ := post("UserService/Nothing", `{}`); code != 404 {
		t.Error(code)
	}
}

func TestBackupStream(t *testing.T) {
	r := start(t)
	stream, err := r.Status.Backup(r.ctx, connect.NewRequest(&v1.BackupRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for stream.Receive() {
		if n := len(stream.Msg().Chunk); n > 64<<10 {
			t.Errorf("a message of %d bytes", n)
		}
		got = append(got, stream.Msg().Chunk...)
	}
	if err := stream.Err(); err != nil || !bytes.Equal(got, bytes.Repeat([]byte("0123456789"), 50_000)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
