package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "github.com/parley-im/parley/api/parley/v1"
	"github.com/parley-im/parley/base/errs"
	parley "github.com/parley-im/parley/sdk/go"
)

type archiveCmd struct {
	Search archiveSearchCmd `cmd:"" help:"Find records by words, person and time. The search is itself recorded."`
	File   archiveFileCmd   `cmd:"" help:"Take out the file in a message, also in one that was taken back. That is recorded."`
	Export archiveExportCmd `cmd:"" help:"Write records and files into a folder, with a list of SHA-256 sums. That is recorded."`
}

type archiveSearchCmd struct {
	Words  []string `arg:"" optional:"" help:"All of them must be there; wor* finds every word that begins so."`
	From   string   `placeholder:"USER@DOMAIN" help:"Person who sent or received."`
	With   string   `placeholder:"USER@DOMAIN" help:"With --from: only what went between the two."`
	Since  string   `placeholder:"TIME" help:"2026-01-31, 2026-01-31T14:00, or how long ago: 90m, 12h, 7d."`
	Until  string   `placeholder:"TIME" help:"As --since."`
	Kind   []string `help:"Only these kinds: message, edit, retract, reaction, delivery, receipt, call.start, call.text, call.end, admin, search, session; without it all but delivery, receipt and session."`
	Limit  int      `default:"1000" help:"Most records to print; 0 for all."`
	Oldest bool     `help:"Oldest first instead of newest first."`
	JSON   bool     `help:"One record a line as JSON."`
}

// fileHash is the key of a record's Meta with the SHA-256 of the file in it.
const fileHash = "file_sha256"

// page is how many records are asked for at a time.
const page = 1000

func (c archiveSearchCmd) Run(a *app) error {
	req := &v1.SearchRequest{Words: strings.Join(c.Words, " "), Person: c.From, With: c.With, Kinds: c.Kind, OldestFirst: c.Oldest}
	var err error
	if req.Since, err = parseTime(c.Since); err != nil {
		return err
	}
	if req.Until, err = parseTime(c.Until); err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	if !c.JSON {
		fmt.Fprintln(w, "TIME\tKIND\tFROM\tTO\tWHAT")
	}
	return a.administer(func(p *parley.Client) error {
		for left := c.Limit; c.Limit == 0 || left > 0; {
			req.Limit = page
			if c.Limit > 0 {
				req.Limit = int32(min(left, page))
			}
			resp, err := p.Archive.Search(a.ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			for _, r := range resp.Msg.Records {
				if err := c.print(w, r); err != nil {
					return err
				}
				req.Before, req.After = r.Seq, 0
				if c.Oldest {
					req.Before, req.After = 0, r.Seq
				}
			}
			if err := w.Flush(); err != nil { // a long table comes page by page
				return err
			}
			if left -= len(resp.Msg.Records); len(resp.Msg.Records) < int(req.Limit) {
				break
			}
		}
		if len(c.Kind) == 0 {
			fmt.Fprintf(os.Stderr, "not shown: deliveries, receipts, and who signed in or out; --kind %s shows them\n", strings.Join(hidden, ","))
		}
		return nil
	})
}

func (c archiveSearchCmd) print(w *tabwriter.Writer, r *v1.Record) error {
	if c.JSON {
		return printJSON(r)
	}
	_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Time.AsTime().Local().Format("2006-01-02 15:04:05.000"), r.Kind, oneLine(r.From), oneLine(r.To), oneLine(what(r)))
	return err
}

// what is a record in a few words.
func what(r *v1.Record) string {
	switch r.Kind {
	case "message", "edit":
		if r.Meta[fileHash] != "" {
			return r.Text + " [file of record " + r.Id + "]"
		}
		if r.Text != "" || len(r.Body) == 0 {
			return r.Text
		}
		return fmt.Sprintf("(%s, %d bytes)", r.ContentType, len(r.Body))
	case "retract":
		return quoted(r)
	case "reaction":
		if r.Meta["removed"] == "1" {
			return strings.TrimSpace("no more " + string(r.Body) + " " + quoted(r))
		}
		return strings.TrimSpace(string(r.Body) + " " + quoted(r))
	case "admin":
		return strings.TrimSpace(r.Meta["action"] + " " + r.Device + r.Meta["about"])
	case "session":
		return session(r)
	case "search":
		return r.Meta["query"]
	case "call.start":
		return r.Meta["media"]
	case "call.text":
		return strings.TrimSpace(r.Meta["part"] + ": " + r.Meta["headers"])
	case "call.end":
		if ms, err := time.ParseDuration(r.Meta["duration"] + "ms"); err == nil {
			return r.Meta["outcome"] + " after " + ms.Round(100*time.Millisecond).String()
		}
		return r.Meta["outcome"]
	}
	return strings.TrimSpace(r.Meta["outcome"] + " " + r.Device)
}

// session is who came or went on what, and from where.
func session(r *v1.Record) string {
	parts := []string{r.Meta["action"], r.Device}
	if r.Meta["label"] != "" {
		parts = append(parts, "“"+r.Meta["label"]+"”")
	}
	if r.Meta["address"] != "" {
		parts = append(parts, "from "+r.Meta["address"])
	}
	if r.Meta["reason"] != "" {
		parts = append(parts, "("+r.Meta["reason"]+")")
	}
	return strings.Join(parts, " ")
}

// hidden are the kinds of records that are looked for only when they are asked for.
var hidden = []string{"delivery", "receipt", "session"}

// quoted is the beginning of the message that a record is about, as it was then; without one, the message's id.
func quoted(r *v1.Record) string {
	if q := r.Meta["quote"]; q != "" {
		return "“" + q + "”"
	}
	return r.Ref
}

// oneLine keeps a text from breaking the table or driving the terminal.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "…"
	}
	return s
}

func parseTime(s string) (*timestamppb.Timestamp, error) {
	if s == "" {
		return nil, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339, time.DateTime} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return timestamppb.New(t), nil
		}
	}
	unit := time.Duration(1)
	text := s
	if days, ok := strings.CutSuffix(s, "d"); ok {
		text, unit = days+"h", 24
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 && d <= math.MaxInt64/unit {
		return timestamppb.New(time.Now().Add(-d * unit)), nil
	}
	return nil, errs.New(errs.Invalid, "%q is not a time; write 2026-01-31, 2026-01-31T14:00, or how long ago: 90m, 12h, 7d", s)
}

func printJSON(m proto.Message) error {
	text, err := protojson.Marshal(m)
	if err != nil {
		return err
	}
	_, err = fmt.Println(string(text))
	return err
}
