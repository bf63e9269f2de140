package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// understood answers requests that are no calls in the form in which all errors come, with what to do. Connect refuses them without
// a word.
func understood(next http.Handler) http.Handler {
	streams := procedures()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stream, there := streams[r.URL.Path]
		switch {
		case !there:
			path := strings.ToValidUTF8(r.URL.Path[:min(len(r.URL.Path), 100)], "")
			refuse(w, http.StatusNotFound, connect.CodeUnimplemented, "not-found", "there is no call "+path)
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			refuse(w, http.StatusMethodNotAllowed, connect.CodeInvalidArgument, "invalid", "a call is a POST")
		case stream && !isMedia(r, "application/connect+", "application/grpc"):
			refuse(w, http.StatusUnsupportedMediaType, connect.CodeInvalidArgument, ReasonMedia, "send this call with the header Content-Type: application/connect+json")
		case !stream && !isMedia(r, "application/json", "application/proto", "application/grpc"):
			refuse(w, http.StatusUnsupportedMediaType, connect.CodeInvalidArgument, ReasonMedia, "send this call with the header Content-Type: application/json")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// isMedia tells whether a request's media type begins with one of these.
func isMedia(r *http.Request, prefixes ...string) bool {
	media := r.Header.Get("Content-Type")
	return slices.ContainsFunc(prefixes, func(p string) bool { return len(media) >= len(p) && strings.EqualFold(media[:len(p)], p) })
}

// refuse answers as Connect does to calls that are not answered with a stream. gRPC clients read the status.
func refuse(w http.ResponseWriter, status int, code connect.Code, reason, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(ReasonHeader, reason)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"code": code.String(), "message": text}) // the client is gone
}

// procedures are all paths of calls, and whether they are answered with streams.
func procedures() map[string]bool {
	all := map[string]bool{}
	protoregistry.GlobalFiles.RangeFilesByPackage("parley.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				all["/"+string(s.FullName())+"/"+string(m.Name())] = m.IsStreamingServer() || m.IsStreamingClient()
			}
		}
		return true
	})
	return all
}
