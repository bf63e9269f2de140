// Package api is the typed HTTP API for the command line, the web and the SDK: one file per subject. The schema is in
// parley/v1; Connect gives it as gRPC, gRPC-Web and plain JSON over HTTP.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/api/parley/v1/parleyv1connect"
	"github.com/parley-im/parley/base/errs"
	"github.com/parley-im/parley/service/archive"
	"github.com/parley-im/parley/service/contact"
	"github.com/parley-im/parley/service/conversation"
	"github.com/parley-im/parley/service/directory"
	"github.com/parley-im/parley/service/feed"
	"github.com/parley-im/parley/service/file"
	"github.com/parley-im/parley/service/message"
	"github.com/parley-im/parley/service/session"
	"github.com/parley-im/parley/service/setting"
	"github.com/parley-im/parley/store"
)

// The largest request bodies in bytes, also after decompression. A list of 10,000 users is about 1 MB.
const (
	maxRequest = 16 << 20 // for administrators alone: whoever may sign in could make the server hold many of them at once
	maxSmall   = 64 << 10 // what has no text of people in it
	maxSetting = 512 << 10
	maxList    = 4 << 20 // 2,000 contacts with long notes; a few at a time
)

// maxLists is how many large lists are read at a time; more wait.
const maxLists = 8

// maxReason is the longest sentence of an error, in bytes.
const maxReason = 1000

// minCompressed is the smallest answer in bytes that is worth compressing: an event or the answer to a message costs more time
// than it saves.
const minCompressed = 4 << 10

// Options are what the API speaks for. Presence, Devices, Server and what people who have signed in need are nil when no server runs.
type Options struct {
	Directory *directory.Service
	Archive   *archive.Service
	Contacts  *contact.Service
	Presence  Presence
	Devices   Devices
	Server    Server
	Sessions  *session.Service
	Reach     Reach
	Settings  *setting.Service
	Messages  *message.Service
	Talks     store.Talks
	Events    *feed.Hub
	Lines     *Lines // takes event streams over HTTP/1.1 from net/http; nil: they stay there
	// Conversations are what was said, and Label what the devices are called on which it was read.
	Conversations *conversation.Service
	Label         DeviceLabel
	Hidden        Hidden
	Sight         Sight
	Files         *file.Service // nil: none are kept
	// Idle is told since when nobody has used the device of a session; zero: somebody does.
	Idle func(session string, since time.Time)
	// Info is what clients should know of the server.
	Info func() *v1.ServerInfo
	Log  *slog.Logger
}

// Handler serves the whole API. Whoever serves it says who calls, with WithCaller or WithUser; without it nobody may do
// anything.
func Handler(o Options) http.Handler {
	limited := func(limit int, door ...connect.Interceptor) []connect.HandlerOption {
		return []connect.HandlerOption{connect.WithReadMaxBytes(limit), connect.WithCompressMinBytes(minCompressed), connect.WithInterceptors(append([]connect.Interceptor{kinds{o.Log}}, door...)...)}
	}
	mux := http.NewServeMux()
	admin := func(path string, h http.Handler) { mux.Handle(path, first(administrators, h)) }
	large := limited(maxRequest, door(administrators))
	if o.Sessions != nil {
		// The one service that a caller without a session may call: it asks for itself.
		mux.Handle(parleyv1connect.NewSessionServiceHandler(&sessions{o.Sessions, o.Directory, o.Info, o.Idle}, limited(maxSmall)...))
		mux.Handle(parleyv1connect.NewDeviceServiceHandler(&ownDevices{o.Sessions, o.Directory, o.Devices, o.Reach}, limited(maxSmall, door(members))...))
		mux.Handle(parleyv1connect.NewSettingsServiceHandler(&settings{o.Settings}, limited(maxSetting, door(members))...))
	}
	if o.Files != nil {
		mux.Handle(parleyv1connect.NewFileServiceHandler(&files{o.Files}, limited(maxSmall, door(members))...))
	}
	if o.Messages != nil {
		mux.Handle(parleyv1connect.NewMessageServiceHandler(&sayings{o.Messages, o.Talks, o.Settings}, limited(o.Messages.MaxRequest(), door(members))...))
	}
	if o.Conversations != nil {
		mux.Handle(parleyv1connect.NewConversationServiceHandler(&conversations{o.Conversations, o.Label, o.Hidden, o.Sight}, limited(maxSetting, door(members))...))
	}
	if o.Events != nil {
		// Never compressed: that takes a megabyte for each event of a few hundred bytes.
		path, h := parleyv1connect.NewEventServiceHandler(&events{o.Events, o.Conversations, o.Presence, o.Hidden, o.Sight, o.Sessions},
			append(limited(maxSmall, door(members)), connect.WithCompression("gzip", nil, nil))...)
		mux.Handle(path, o.Lines.over(withPipe(h)))
	}
	admin(parleyv1connect.NewUserServiceHandler(&users{o.Directory, o.Devices, o.Sessions, o.Reach}, large...))
	admin(parleyv1connect.NewArchiveServiceHandler(&records{o.Archive}, large...))
	admin(parleyv1connect.NewStatusServiceHandler(&status{o.Server}, large...))
	// Everybody may find people. The others ask for themselves who may do what.
	mux.Handle(parleyv1connect.NewPeopleServiceHandler(&people{o.Directory}, limited(maxSetting, door(somebody))...))
	path, lists := parleyv1connect.NewContactServiceHandler(&contacts{o.Contacts}, limited(maxList, door(somebody))...)
	mux.Handle(path, few(maxLists, lists))
	mux.Handle(parleyv1connect.NewPresenceServiceHandler(&presences{o.Presence}, limited(maxSetting, door(somebody))...))
	return understood(mux)
}

// via is the door by which all of this package's callers come, for records.
const via = "api"

// kinds turns errors of our kinds into Connect's codes, with a sentence for people.
type kinds struct{ log *slog.Logger }

func (k kinds) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		resp, err := next(ctx, req)
		return resp, k.public(ctx, req.Spec().Procedure, err)
	}
}

func (kinds) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (k kinds) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if err := next(ctx, conn); err != nil {
			return k.refused(ctx, conn, err)
		}
		return nil
	}
}

// refused is what the caller of a stream is told. It is a function of its own because streams wait for hours: what is in one on the
// way there is in the stack of each.
//
//go:noinline
func (k kinds) refused(ctx context.Context, conn connect.StreamingHandlerConn, err error) error {
	return k.public(ctx, conn.Spec().Procedure, err)
}

var codes = map[errs.Kind]connect.Code{
	errs.Invalid:      connect.CodeInvalidArgument,
	errs.Unauthorized: connect.CodeUnauthenticated,
	errs.Forbidden:    connect.CodePermissionDenied,
	errs.NotFound:     connect.CodeNotFound,
	errs.Conflict:     connect.CodeAlreadyExists,
	errs.TooMany:      connect.CodeResourceExhausted,
	errs.Unavailable:  connect.CodeUnavailable,
	errs.Internal:     connect.CodeInternal,
}

// public is what the caller is told. What we did wrong or cannot do is in the log in full and here in one sentence.
func (k kinds) public(ctx context.Context, procedure string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := err.(*connect.Error); ok { //nolint:errorlint // only one made by Connect itself is passed as it is
		return err
	}
	if kind := errs.KindOf(err); (kind == errs.Internal || kind == errs.Unavailable) && ctx.Err() == nil && !errors.Is(err, ErrNotRunning) {
		k.log.Error("api: a call failed", "procedure", procedure, "err", err)
	}
	return Public(err)
}

// Public is an error as callers are told it: with a code, a reason that stays the same, and one sentence for people.
func Public(err error) *connect.Error {
	kind := errs.KindOf(err)
	text := errs.Reason(err)
	if text == errs.Reason(kind) { // nobody chose words for people
		switch kind {
		case errs.Internal, errs.Unavailable:
			text += " (the server's log says why)"
		default:
			text = Plain(err.Error())
		}
	}
	if len(text) > maxReason { // it repeats what the caller has said
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	public := connect.NewError(codes[kind], errors.New(text))
	retryAfter(public.Meta(), err)
	public.Meta().Set(ReasonHeader, reasonOf(err))
	return public
}

var prefix = regexp.MustCompile(`^(?:[a-z]+: )+`)

// Plain takes the names of packages from the front of an error's text.
func Plain(text string) string { return prefix.ReplaceAllString(text, "") }
