package content

import (
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/microcosm-cc/bluemonday"
	"golang.org/x/net/html"
)

// The formatting of messages: exactly these survive, without attributes.
const (
	em         = "em"
	strong     = "strong"
	code       = "code"
	paragraph  = "p"
	blockquote = "blockquote"
	lineBreak  = "br"
)

// maxQuotes is how deep quotes are inside quotes.
const maxQuotes = 8

// policy is the second pair of eyes: what leaves Sanitise has passed it, whatever mistake is in the code above it.
var policy = sync.OnceValue(func() *bluemonday.Policy {
	return bluemonday.NewPolicy().AllowElements(em, strong, code, paragraph, blockquote, lineBreak)
})

// aliases are elements of others that mean the same.
var aliases = map[string]string{
	"b": strong, "i": em, "tt": code, "kbd": code, "samp": code, "pre": code,
	em: em, strong: strong, code: code, paragraph: paragraph, blockquote: blockquote,
}

// lines are elements that begin and end on a line of their own.
var lines = map[string]bool{
	"div": true, "section": true, "article": true, "header": true, "footer": true, "main": true, "nav": true, "address": true, "center": true,
	"h1": true, "h2": true, "h3": true, "h4": true, "h5": true, "h6": true, "ul": true, "ol": true, "li": true, "dl": true, "dt": true, "dd": true,
	"table": true, "tr": true, "hr": true, "form": true, "fieldset": true, "pre": true, "figure": true, "figcaption": true, "details": true, "summary": true,
}

// dropped are elements whose inside is no text for people.
var dropped = map[string]bool{
	"script": true, "style": true, "title": true, "iframe": true, "object": true, "applet": true, "noscript": true, "noembed": true, "noframes": true,
	"template": true, "svg": true, "math": true, "textarea": true, "select": true, "canvas": true, "audio": true, "video": true, "datalist": true,
}

// Sanitise makes HTML of anybody what pages may show: only em, strong, blockquote, br, p and code are left, without attributes, closed
// and not overlapping, quotes at most 8 deep. b, i, pre and their like become what they mean, lines of div, lists and tables
// stay lines, and the target of a link stands behind its text. Scripts, styles and pictures go. White space outside code is as
// browsers show it. What is longer than MaxText is cut. Sanitising again changes nothing.
func Sanitise(s string) string {
	w := writer{fresh: true}
	z := html.NewTokenizer(strings.NewReader(Clean(cut(s, MaxText))))
	var skip string // the dropped element that this is inside of
	depth := 0
	for len(w.out) < 2*MaxText {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		t := z.Token()
		void := kind == html.SelfClosingTagToken && (t.Data == "svg" || t.Data == "math") // the only ones for which that is so
		switch {
		case skip != "":
			switch {
			case t.Data != skip || void:
			case kind == html.EndTagToken:
				if depth--; depth == 0 {
					skip = ""
				}
			case kind == html.StartTagToken, kind == html.SelfClosingTagToken:
				depth++
			}
		case kind == html.TextToken:
			w.text(Clean(t.Data))
		case kind == html.EndTagToken:
			w.end(t.Data)
		case (kind == html.StartTagToken || kind == html.SelfClosingTagToken) && dropped[t.Data]:
			if !void {
				skip, depth = t.Data, 1
			}
		case kind == html.StartTagToken || kind == html.SelfClosingTagToken:
			w.begin(&t)
		}
	}
	w.unwind(0)
	w.trim(0)
	return policy().Sanitize(string(w.out))
}

// open is an element that has not ended yet.
type open struct {
	name   string
	start  int // where its tag is in the output
	inside int // and where that ends
	more   int // elements of the same name inside, which are left out
}

// writer writes what Sanitise returns.
type writer struct {
	out   []byte
	stack []open // blocks, then what is open in the innermost one; nothing inline is outside a block that began later
	fresh bool   // nothing stands on this line yet
	gap   bool   // white space is due before the next character
	brk   bool   // and a line break, unless this line is fresh
	link  string // target of the link that this is inside of
	mark  int    // where its text begins
}

func isBlock(name string) bool { return name == paragraph || name == blockquote }

// begin takes a start tag.
func (w *writer) begin(t *html.Token) {
	if lines[t.Data] {
		w.brk = true
	}
	switch t.Data {
	case lineBreak:
		w.breakNow()
		return
	case "li":
		w.text("• ")
		w.gap = true
	case "td", "th":
		w.gap = true
	case "img":
		w.text(line(attribute(t, "alt"), MaxQuote))
	case "a":
		w.endLink()
		w.link, w.mark = attribute(t, "href"), len(w.out)
	}
	name := aliases[t.Data]
	if name == "" {
		return
	}
	if i := w.find(name); i >= 0 && name != paragraph && (name != blockquote || w.quotes() >= maxQuotes) {
		w.stack[i].more++
		return
	}
	if !isBlock(name) {
		w.flush()
		w.push(name)
		return
	}
	inner := w.inline()
	if n := len(w.stack); n > 0 && w.stack[n-1].name == paragraph {
		w.close()
	}
	w.push(name)
	w.newLine()
	w.again(inner)
}

// end takes an end tag.
func (w *writer) end(name string) {
	if name == "a" {
		w.endLink()
	}
	if lines[name] {
		w.brk = true
	}
	alias := aliases[name]
	i := w.find(alias)
	if alias == "" || i < 0 {
		return
	}
	if w.stack[i].more > 0 {
		w.stack[i].more--
		return
	}
	inner := w.inline()
	if isBlock(alias) {
		w.unwind(i)
		w.newLine()
	} else {
		inner = slices.DeleteFunc(inner, func(o open) bool { return o.name == alias })
	}
	w.again(inner)
}

// find is where the innermost open element of that name is; -1 for none. A paragraph ends at a quote.
func (w *writer) find(name string) int {
	for i := len(w.stack) - 1; i >= 0; i-- {
		if w.stack[i].name == name {
			return i
		}
		if name != blockquote && w.stack[i].name == blockquote {
			break
		}
	}
	return -1
}

func (w *writer) quotes() int {
	n := 0
	for i := range w.stack {
		if w.stack[i].name == blockquote {
			n++
		}
	}
	return n
}

// inline ends what is open in the innermost block, and returns it so that it can begin again.
func (w *writer) inline() []open {
	n := len(w.stack)
	for n > 0 && !isBlock(w.stack[n-1].name) {
		n--
	}
	inner := slices.Clone(w.stack[n:])
	w.unwind(n)
	return inner
}

func (w *writer) again(list []open) {
	for _, o := range list {
		w.push(o.name)
		w.stack[len(w.stack)-1].more = o.more
	}
}

func (w *writer) push(name string) {
	start := len(w.out)
	w.out = append(append(append(w.out, '<'), name...), '>')
	w.stack = append(w.stack, open{name: name, start: start, inside: len(w.out)})
}

// unwind ends all but the first n elements.
func (w *writer) unwind(n int) {
	for len(w.stack) > n {
		w.close()
	}
}

// close ends the innermost element; an empty one was never there.
func (w *writer) close() {
	o := w.stack[len(w.stack)-1]
	w.stack = w.stack[:len(w.stack)-1]
	if isBlock(o.name) {
		w.trim(o.inside)
	}
	if len(w.out) == o.inside {
		w.out = w.out[:o.start]
		return
	}
	w.out = append(append(append(w.out, "</"...), o.name...), '>')
}

// trim takes line breaks from the end of the output, where they are not shown.
func (w *writer) trim(from int) {
	const br = "<br>"
	for len(w.out) >= from+len(br) && string(w.out[len(w.out)-len(br):]) == br {
		w.out = w.out[:len(w.out)-len(br)]
	}
}

func (w *writer) newLine() { w.fresh, w.gap, w.brk = true, false, false }

func (w *writer) breakNow() {
	if w.brk && !w.fresh {
		w.out = append(w.out, "<br>"...)
	}
	w.out = append(w.out, "<br>"...)
	w.newLine()
}

// flush writes what is due before the next thing that is seen.
func (w *writer) flush() {
	if w.brk && !w.fresh {
		w.out = append(w.out, "<br>"...)
		w.fresh, w.gap = true, false
	}
	w.brk = false
	if w.gap && !w.fresh {
		w.out = append(w.out, ' ')
	}
	w.gap = false
}

// text takes words. White space is one space, and none at the ends of lines; inside code it is as it was written.
func (w *writer) text(s string) {
	if w.find(code) >= 0 {
		for i, l := range strings.Split(s, "\n") {
			if i > 0 {
				w.breakNow()
			}
			if l != "" {
				w.flush()
				w.out = append(w.out, html.EscapeString(l)...)
				w.fresh = false
			}
		}
		return
	}
	for s != "" {
		n := strings.IndexAny(s, " \t\n\f")
		if n == 0 {
			w.gap = true
			s = strings.TrimLeft(s, " \t\n\f")
			continue
		}
		if n < 0 {
			n = len(s)
		}
		w.flush()
		w.out = append(w.out, html.EscapeString(s[:n])...)
		w.fresh = false
		s = s[n:]
	}
}

// endLink writes where a link leads, unless its text says so: nobody shall be told one place and led to another.
func (w *writer) endLink() {
	target := w.link
	if w.link = ""; target == "" || len(target) > 2000 {
		return
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return
	}
	if w.mark <= len(w.out) && strings.Contains(string(w.out[w.mark:]), html.EscapeString(target)) {
		return
	}
	w.text(" (" + strings.Join(strings.Fields(Clean(target)), "%20") + ")")
}

func attribute(t *html.Token, name string) string {
	for _, a := range t.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// Formatting is sanitised HTML that says more than its plain text does, else "".
func Formatting(sanitised string) string {
	for _, name := range [...]string{em, strong, code, blockquote} {
		if strings.Contains(sanitised, "<"+name+">") {
			return sanitised
		}
	}
	return ""
}

// Escape is plain text as sanitised HTML.
func Escape(text string) string {
	return strings.ReplaceAll(html.EscapeString(Clean(text)), "\n", "<br>")
}

// Plain is the text of HTML from Sanitise as it is read where there is no formatting: paragraphs have an empty line between them,
// breaks are kept, and quotes begin with "> ".
func Plain(sanitised string) string {
	var p plain
	z := html.NewTokenizer(strings.NewReader(sanitised))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			return p.String()
		}
		t := z.Token()
		switch {
		case kind == html.TextToken:
			p.text(strings.ReplaceAll(t.Data, "\u00a0", " "))
		case t.Data == lineBreak:
			p.text("")
			p.lines = append(p.lines, quotedLine{p.depth, ""})
		case t.Data == blockquote && kind == html.StartTagToken:
			p.depth, p.apart = p.depth+1, true
		case t.Data == blockquote:
			p.depth, p.apart = p.depth-1, true
		case t.Data == paragraph:
			p.apart = true
		}
	}
}

// plain puts lines together.
type plain struct {
	lines []quotedLine
	depth int
	apart bool // what follows is another paragraph
}

type quotedLine struct {
	depth int
	text  string
}

func (p *plain) text(s string) {
	switch n := len(p.lines); {
	case n == 0:
		p.lines = append(p.lines, quotedLine{p.depth, ""})
	case p.apart:
		p.lines = append(p.lines, quotedLine{min(p.depth, p.lines[n-1].depth), ""}, quotedLine{p.depth, ""})
	}
	p.apart = false
	p.lines[len(p.lines)-1].text += s
}

func (p *plain) String() string {
	var b strings.Builder
	for i, l := range p.lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(strings.TrimRight(strings.Repeat("> ", l.depth)+l.text, " "))
	}
	return strings.Trim(b.String(), "\n")
}
