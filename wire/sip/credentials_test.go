package sip

import "testing"

func TestParseCredentials(t *testing.T) {
	for text, want := range map[string]Credentials{
		// RFC 3261 §20.7
		`Digest username="Alice", realm="atlanta.com",
 nonce="84a4cc6f3082121f32b42a2187831a9e",
 response="7587245234b3434cc3412213e5f113a5432"`: {Scheme: "Digest", Username: "Alice", Realm: "atlanta.com", Nonce: "84a4cc6f3082121f32b42a2187831a9e", Response: "7587245234b3434cc3412213e5f113a5432"},
		// RFC 7616 §3.9.1
		`Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`: {
			Scheme: "Digest", Username: "Mufasa", Realm: "http-auth@example.org", URI: "/dir/index.html", Algorithm: "SHA-256", Nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", NC: "00000001",
			CNonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", QOP: "auth", Response: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", Opaque: "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"},
		`digest USERNAME = "a\"b\\c" ,x=y, x="z",NC="00000001" , qop = "auth"`: {Scheme: "digest", Username: `a"b\c`, NC: "00000001", QOP: "auth"},
		`Digest uri=sip:h;x=1,nonce=a==`:                                       {Scheme: "Digest", URI: "sip:h;x=1", Nonce: "a=="},
		`Digest username="",realm="é, =;"`:                                     {Scheme: "Digest", Realm: "é, =;"},
		`Basic YWxpY2U6cHc=`:                                                   {Scheme: "Basic"},
		`Bearer`:                                                               {Scheme: "Bearer"},
	} {
		c, err := ParseCredentials(text)
		if err != nil || c != want {
			t.Errorf("ParseCredentials(%q) = %+v, %v", text, c, err)
		}
	}
	for _, text := range []string{"", " ", `"Digest"`, "Digest", "Digest ", "Digest,", "Digest username", "Digest username=", `Digest username="a`, `Digest username="a" x`, `Digest username="a",`, `Digest username="",username="b"`, `Digest ,username="a"`, `Digest username="a";realm="b"`, "Digest username=\"a\x01\"", `Digest=x`, `Digest username=a"b"`} {
		if c, err := ParseCredentials(text); err == nil {
			t.Errorf("ParseCredentials(%q) = %+v", text, c)
		}
	}
}

func TestStatusText(t *testing.T) {
	for code, want := range map[int]string{100: "Trying", 202: "Accepted", 440: "Max-Breadth Exceeded", 199: "Early Dialog Terminated", 150: "Session Progress", 299: "OK", 399: "Redirected", 499: "Bad Request", 599: "Server Internal Error", 699: "Global Failure", 99: "", 700: "", 0: "", -1: ""} {
		if got := StatusText(code); got != want {
			t.Errorf("StatusText(%d) = %q, want %q", code, got, want)
		}
	}
}
