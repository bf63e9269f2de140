package policy

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"strings"
	"testing"

	"github.com/parley-im/parley/wire/sip"
)

func TestMethod(t *testing.T) {
	p := New(Options{})
	for method, want := range map[string]int{
		"INVITE": 0, "MESSAGE": 0, "ACK": 0, "CANCEL": 0, "INFO": 0, "REFER": 0,
		"invite": 501, "PING": 501, "Newmethod": 501, "": 501,
	} {
		if got := p.Method(method); got != want {
			t.Errorf("%s: %d, want %d", method, got, want)
		}
	}
	few := New(Options{Methods: []string{"REGISTER"}})
	for method, want := range map[string]int{"REGISTER": 0, "ACK": 0, "CANCEL": 0, "INVITE": 405, "INFO": 405, "X": 501} {
		if got := few.Method(method); got != want {
			t.Errorf("short list: %s: %d, want %d", method, got, want)
		}
	}
}

func TestLeaving(t *testing.T) {
	if no := New(Options{}).Leaving(); no == nil || no.Status != 403 {
		t.Errorf("default: %+v", no)
	}
	if no := New(Options{Federation: true}).Leaving(); no != nil {
		t.Errorf("federation: %+v", no)
	}
}

const head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"

const audio = head + "m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"

// message makes a request or, with a status line, a response to one.
func message(t *testing.T, line, method string, headers, body string) *sip.Message {
	t.Helper()
	raw := line + "\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\n" +
		"Call-ID: 1\r\nCSeq: 1 " + method + "\r\n" + headers + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body
	m, err := sip.Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func deflated(s string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

func multipart(parts ...string) string {
	return "--x\r\n" + strings.Join(parts, "\r\n--x\r\n") + "\r\n--x--\r\n"
}

func TestBody(t *testing.T) {
	const typ = "Content-Type: "
	sdpPart := "Content-Type: application/sdp\r\n\r\n" + audio
	msrp := head + "m=message 7654 TCP/MSRP *\r\na=accept-types:text/plain\r\na=path:msrp://a:7654/s;tcp\r\n"
	rows := []struct {
		name, method, headers, body string
		want                        int
	}{
		{"no body", "INVITE", "", "", 0},
		{"audio", "INVITE", typ + "application/sdp\r\n", audio, 0},
		{"audio, upper case type", "INVITE", typ + "Application/SDP;x=y\r\n", audio, 0},
		{"video over DTLS", "INVITE", typ + "application/sdp\r\n", head + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n", 0},
		{"fax", "INVITE", typ + "application/sdp\r\n", head + "m=image 9 udptl t38\r\n", 0},
		{"floor control", "UPDATE", typ + "application/sdp\r\n", head + "m=application 9 TCP/BFCP *\r\n", 0},
		{"camera control", "INVITE", typ + "application/sdp\r\n", head + "m=application 9 RTP/AVP 100\r\na=rtpmap:100 H224/4800\r\n", 0},
		{"MSRP", "INVITE", typ + "application/sdp\r\n", msrp, 488},
		{"MSRP, compact type", "INVITE", "c: application/sdp\r\n", msrp, 488},
		{"MSRP over TLS", "INVITE", typ + "application/sdp\r\n", strings.Replace(msrp, "TCP/MSRP", "TCP/TLS/MSRP", 1), 488},
		{"MSRP, other case", "INVITE", typ + "application/sdp\r\n", head + "m=MESSAGE 1 tcp/msrp *\r\n", 488},
		{"MSRP as audio", "INVITE", typ + "application/sdp\r\n", head + "m=audio 1 TCP/MSRP *\r\n", 488},
		{"MSRP beside audio", "INVITE", typ + "application/sdp\r\n", audio + "m=message 7654 TCP/MSRP *\r\n", 488},
		{"MSRP with LF", "INVITE", typ + "application/sdp\r\n", strings.ReplaceAll(msrp, "\r\n", "\n"), 488},
		{"MSRP refused", "ACK", typ + "application/sdp\r\n", audio + "m=message 0 TCP/MSRP *\r\n", 0},
		{"MSRP bundled", "INVITE", typ + "application/sdp\r\n", head + "m=message 0 TCP/MSRP *\r\na=bundle-only\r\n", 488},
		{"MSRP in an answer in PRACK", "PRACK", typ + "application/sdp\r\n", msrp, 488},
		{"MSRP as capability", "INVITE", typ + "application/sdp\r\n", audio + "a=tcap:1 TCP/MSRP\r\n", 488},
		{"MSRP capability of the session", "INVITE", typ + "application/sdp\r\n", head + "a=tcap:1 TCP/MSRP\r\nm=audio 1 RTP/AVP 0\r\n", 488},
		{"real-time text", "INVITE", typ + "application/sdp\r\n", head + "m=text 11000 RTP/AVP 98\r\na=rtpmap:98 t140/1000\r\n", 488},
		{"t140 in audio", "INVITE", typ + "application/sdp\r\n", head + "m=audio 1 RTP/AVP 98\r\na=rtpmap:98 T140c/8000\r\n", 488},
		{"data channel", "INVITE", typ + "application/sdp\r\n", head + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", 488},
		{"unknown media", "INVITE", typ + "application/sdp\r\n", head + "m=chat 9 TCP *\r\n", 488},
		{"audio over nothing known", "INVITE", typ + "application/sdp\r\n", head + "m=audio 9 TCP *\r\n", 488},
		{"no description", "INVITE", typ + "application/sdp\r\n", "hello", 400},
		{"huge payload type", "INVITE", typ + "application/sdp\r\n", head + "m=audio 1 RTP/AVP 4294967296\r\n", 400},
		{"10,000 media", "INVITE", typ + "application/sdp\r\n", head + strings.Repeat("m=audio 1 RTP/AVP 0\r\n", 2900), 400},
		{"text", "INVITE", typ + "text/plain\r\n", "hello", 415},
		{"SDP as text", "INVITE", typ + "text/plain\r\n", audio, 415},
		{"no type", "INVITE", "", audio, 415},
		{"unknown type (RFC 4475 invut)", "INVITE", typ + "application/unknownformat\r\n", "<a/>", 415},
		{"text in BYE", "BYE", typ + "text/plain\r\n", "bye", 415},
		{"text in UPDATE", "UPDATE", typ + "text/plain\r\n", "bye", 415},
		{"text in OPTIONS", "OPTIONS", typ + "text/plain\r\n", "bye", 415},
		{"text in REFER", "REFER", typ + "text/plain\r\n", "bye", 415},
		{"MESSAGE", "MESSAGE", typ + "text/plain\r\n", "hello", 0},

		{"deflated audio", "INVITE", typ + "application/sdp\r\nContent-Encoding: deflate\r\n", deflated(audio), 0},
		{"deflated MSRP", "INVITE", typ + "application/sdp\r\nContent-Encoding: deflate\r\n", deflated(msrp), 488},
		{"bomb", "INVITE", typ + "application/sdp\r\nContent-Encoding: deflate\r\n", deflated(audio + strings.Repeat("a=xxxxxxxxxxx\r\n", 200000)), 413},
		{"not deflated", "INVITE", typ + "application/sdp\r\nContent-Encoding: deflate\r\n", audio, 400},
		{"unknown encoding", "INVITE", typ + "application/sdp\r\nContent-Encoding: br\r\n", audio, 415},

		{"multipart", "INVITE", typ + "multipart/mixed;boundary=x\r\n", multipart(sdpPart), 0},
		{"multipart with text", "INVITE", typ + "multipart/mixed;boundary=x\r\n", multipart(sdpPart, "Content-Type: text/plain\r\n\r\nhello"), 415},
		{"multipart with MSRP", "INVITE", typ + "multipart/alternative;boundary=x\r\n", multipart(sdpPart, "Content-Type: application/sdp\r\n\r\n"+msrp), 488},
		{"nested MSRP", "INVITE", typ + "multipart/mixed;boundary=y\r\n",
			"--y\r\nContent-Type: multipart/mixed;boundary=x\r\n\r\n" + multipart("Content-Type: application/sdp\r\n\r\n"+msrp) + "\r\n--y--\r\n", 488},
		{"encoded part", "INVITE", typ + "multipart/mixed;boundary=x\r\n", multipart("Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w"), 415},
		{"deflated part", "INVITE", typ + "multipart/mixed;boundary=x\r\n", multipart("Content-Type: application/sdp\r\nContent-Encoding: deflate\r\n\r\n" + deflated(audio)), 415},
		{"preamble", "INVITE", typ + "multipart/mixed;boundary=x\r\n", "hello bob\r\n" + multipart(sdpPart), 400},
		{"epilogue", "INVITE", typ + "multipart/mixed;boundary=x\r\n", multipart(sdpPart) + "hello bob\r\n", 400},
		{"no boundary", "INVITE", typ + "multipart/mixed\r\n", multipart(sdpPart), 400},
		{"not closed", "INVITE", typ + "multipart/mixed;boundary=x\r\n", "--x\r\n" + sdpPart, 400},

		{"digit", "INFO", typ + "application/dtmf-relay\r\n", "Signal=5\r\nDuration=160\r\n", 0},
		{"digit alone", "INFO", typ + "application/dtmf\r\n", "5\r\n", 0},
		{"prose as digits", "INFO", typ + "application/dtmf\r\n", "hello", 415},
		{"prose as signal", "INFO", typ + "application/dtmf-relay\r\n", "Signal=hello bob\r\n", 415},
		{"prose as line", "INFO", typ + "application/dtmf-relay\r\n", "hello bob\r\n", 415},
		{"prose as key", "INFO", typ + "application/dtmf-relay\r\n", "Signal=5\r\nText=hello\r\n", 415},
		{"picture update", "INFO", typ + "application/media_control+xml\r\n", "<media_control/>", 0},
		{"picture update of RFC 5168", "INFO", typ + "application/media_control+xml\r\n",
			"<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<media_control>\r\n <vc_primitive>\r\n  <stream_id>1</stream_id>\r\n  <to_encoder>\r\n   <picture_fast_update/>\r\n  </to_encoder>\r\n </vc_primitive>\r\n</media_control>\r\n", 0},
		{"words as a picture update", "INFO", typ + "application/media_control+xml\r\n", "<media_control>hello</media_control>", 415},
		{"words as an element", "INFO", typ + "application/media_control+xml\r\n", "<hello/>", 415},
		{"hook flash", "INFO", typ + "application/hook-flash\r\n", "signal=hf\r\n", 0},
		{"words as a hook flash", "INFO", typ + "application/hook-flash\r\n", "hello", 415},
		{"text in INFO", "INFO", typ + "text/plain\r\n", "hello", 415},
		{"text in a multipart INFO", "INFO", typ + "multipart/mixed;boundary=x\r\n", multipart("Content-Type: text/plain\r\n\r\nhello"), 415},

		{"refer progress", "NOTIFY", typ + "message/sipfrag;version=2.0\r\n", "SIP/2.0 200 OK\r\n", 0},
		{"text as refer progress", "NOTIFY", typ + "message/sipfrag\r\n", "hello", 415},
		{"long refer progress", "NOTIFY", typ + "message/sipfrag\r\n", "SIP/2.0 200 OK\r\n" + strings.Repeat("X: y\r\n", 400), 415},
		{"text in NOTIFY", "NOTIFY", typ + "text/plain\r\n", "hello", 415},
	}
	p := New(Options{})
	for _, row := range rows {
		status := 0
		if no := p.Body(message(t, row.method+" sip:b@example.com SIP/2.0", row.method, row.headers, row.body)); no != nil {
			status = no.Status
			if no.Warning == "" {
				t.Errorf("%s: no warning", row.name)
			}
			if status == 415 && no.Accept == "" {
				t.Errorf("%s: 415 without Accept", row.name)
			}
		}
		if status != row.want {
			t.Errorf("%s: %d, want %d", row.name, status, row.want)
		}
	}
}

// Responses carry offers and answers too.
func TestBodyOfResponse(t *testing.T) {
	p := New(Options{})
	for _, row := range []struct {
		method, typ, body string
		pass              bool
	}{
		{"INVITE", "application/sdp", audio, true},
		{"INVITE", "application/sdp", head + "m=message 7654 TCP/MSRP *\r\n", false},
		{"INVITE", "text/plain", "I am in a meeting", false},
		{"MESSAGE", "text/plain", "hello", false},
		{"BYE", "text/html", "hello", false},
	} {
		m := message(t, "SIP/2.0 200 OK", row.method, "Content-Type: "+row.typ+"\r\n", row.body)
		if got := p.Body(m) == nil; got != row.pass {
			t.Errorf("%s %s: pass %v", row.method, row.typ, got)
		}
	}
}

func TestInfoAllowed(t *testing.T) {
	p := New(Options{InfoTypes: []string{"application/dtmf"}})
	if !p.InfoAllowed("Application/DTMF") || p.InfoAllowed("application/dtmf-relay") || p.InfoAllowed("") {
		t.Error("list not followed")
	}
}
