package device

import (
	"strings"
	"testing"

	"github.com/parley-im/parley/wire/pidf"
	"github.com/parley-im/parley/wire/sip"
)

// As devices send them.
func TestUserAgents(t *testing.T) {
	for agent, want := range map[string]pidf.DeviceClass{
		"": "",

		"LinphoneAndroid/5.2.5 (realme Note 50) LinphoneSDK/5.3.47 (tags/5.3.47^0)":    pidf.Phone,
		"LinphoneAndroid/3.2.8 (belle-sip/1.6.3)":                                      pidf.Phone,
		"LinphoneAndroid/5.2.1 (Galaxy Tab S8) LinphoneSDK/5.3.15 (tags/5.3.15^0)":     pidf.Tablet,
		"LinphoneiOS/4.5.1 (iPhone de Kijou) LinphoneSDK/5.0.40-pre.2+ea19d3d":         pidf.Phone,
		"LinphoneiOS/4.6.5 (iPad) LinphoneSDK/5.2.45":                                  pidf.Tablet,
		"LinphoneIPhone/2.2.3 (belle-sip/1.3.3)":                                       pidf.Phone,
		"LinphoneAndroid/5.2.5 (Yealink on Windows) LinphoneSDK/5.3.47":                pidf.Phone,
		"Linphone-Desktop/5.2.4 (host) Debian GNU/Linux 12 Qt/5.15.8 LinphoneCore/5.3": pidf.Desktop,
		"Linphone Desktop/ (Ubuntu 22.04.3 LTS, Qt 5.15.3) LinphoneCore/4.4.2":         pidf.Desktop,
		"Linphonec/5.1.65 (belle-sip/5.1.65)":                                          pidf.Desktop,
		"Linphone/3.6.1 (eXosip2/4.1.0)":                                               pidf.Desktop,
		"Linphone/3.9.0 (belle-sip/1.4.2)":                                             pidf.Desktop,

		"baresip v1.1.0 (x86_64/linux)":                       pidf.Desktop,
		"baresip v0.5.0 (x86_64/freebsd)":                     pidf.Desktop,
		"baresip v3.16.0 (arm64/Android)":                     pidf.Phone,
		"Purple/2.14.12":                                      pidf.Desktop,
		"Jitsi2.10.5550Mac OS X":                              pidf.Desktop,
		"Jitsi2.11.20200408Linux":                             pidf.Desktop,
		"Jitsi2.10.5550Windows 10":                            pidf.Desktop,
		"Twinkle/1.10.3":                                      pidf.Desktop,
		"MicroSIP/3.21.3":                                     pidf.Desktop,
		"X-Lite release 4.9.8 stamp 84253":                    pidf.Desktop,
		"X-Lite 4 release 4.0 stamp 58832":                    pidf.Desktop,
		"eyeBeam release 1102q stamp 51814":                   pidf.Desktop,
		"Bria 3 release 3.5.5 stamp 71243":                    pidf.Desktop,
		"Bria 4 release 4.8.1 stamp 85141":                    pidf.Desktop,
		"Bria iOS release 3.9.5 stamp 38501.38502":            pidf.Phone,
		"Bria iOS 3.1.1":                                      pidf.Phone,
		"Bria Android 6.5.2":                                  pidf.Phone,
		"Z 5.6.4 v2.10.20.4_1":                                pidf.Desktop,
		"Z 5.2.19 rv2.8.99":                                   pidf.Desktop,
		"Zoiper rev.5415":                                     pidf.Desktop,
		"Zoiper for Windows 2.38 rev.16635":                   pidf.Desktop,
		"Zoiper v2.10.20.4_1":                                 "", // the same on all systems
		"CSipSimple_greatlte-26/r2457":                        pidf.Phone,
		"CSipSimple r1099 / thunderg-10":                      pidf.Phone,
		"Acrobits SIPIS":                                      pidf.Phone,
		"Groundwire/5.10 (build 1234567; iOS 15.1; iPhone13)": pidf.Phone,
		"Groundwire/5.10 (build 1234567; macOS 13.1; arm64)":  pidf.Desktop,
		"Grandstream Wave 1.2.14":                             pidf.Phone,
		"Grandstream gsmeeting/webrtc_chrome 77.0.3829.0":     pidf.Browser,
		"PJSUA v2.13 Linux-6.1/x86_64/glibc-2.36":             pidf.Desktop,
		"Telepathy-SofiaSIP/0.8.2 sofia-sip/1.12.11":          pidf.Desktop,
		"Cisco-CSF":                     pidf.Desktop,
		"Cisco-SIPIPCommunicator/9.1.1": pidf.Desktop,
		"Avaya SIP Softphone":           pidf.Desktop,
		"Blink Pro 4.6.0 (MacOSX)":      pidf.Desktop,
		"JsSIP 3.10.1":                  pidf.Browser,
		"SIP.js/0.21.1":                 pidf.Browser,
		"SIP.js/0.13.5.2;mozilla/5.0 (macintosh; intel mac os": pidf.Browser,
		"IM-client/OMA1.0 sipML5-v1.2016.03.04":                pidf.Browser,
		"Mozilla/5.0 (Linux; Android 13) Chrome/117 Mobile":    pidf.Browser,
		"Some Softphone 1.0 (Windows 11)":                      pidf.Desktop,
		"Some Softphone 1.0 (Android 13; SM-T510)":             pidf.Tablet,
		"Some Softphone 1.0":                                   "",

		"Yealink SIP-T46S 66.86.0.15":                                 pidf.DeskPhone,
		"Yealink SIP-T27G 69.86.0.15":                                 pidf.DeskPhone,
		"Yealink W60B 77.85.0.20":                                     pidf.DeskPhone,
		"snomD785/10.1.84.12":                                         pidf.DeskPhone,
		"snom370/8.7.5.48":                                            pidf.DeskPhone,
		"snomPA1/8.7.3.19":                                            pidf.DeskPhone,
		"PolycomVVX-VVX_410-UA/5.5.0.20556":                           pidf.DeskPhone,
		"Polycom/5.5.0.20556 PolycomVVX-VVX_410-UA/5.5.0.20556":       pidf.DeskPhone,
		"PolycomSoundPointIP-SPIP_550-UA/3.3.5.0247":                  pidf.DeskPhone,
		"PolycomTrio-Trio_8800-UA/6.4.3.5678":                         pidf.DeskPhone,
		"PolycomCCX-CCX_500-UA/7.1.0.100":                             pidf.DeskPhone,
		"PolyEdge-Edge_E350-UA/8.0.1.16845":                           pidf.DeskPhone,
		"Cisco/SPA525G2-7.6.1(ES_RC01)":                               pidf.DeskPhone,
		"Cisco-CP8961/9.4.2":                                          pidf.DeskPhone,
		"Cisco-CP-8841-3PCC/11.3.1_d1a3a3e":                           pidf.DeskPhone,
		"Linksys/SPA942-6.1.5(a)":                                     pidf.DeskPhone,
		"Grandstream GXP2170 1.0.11.46":                               pidf.DeskPhone,
		"Grandstream HT802 1.0.17.5":                                  pidf.DeskPhone,
		"Fanvil X303 2.12.18.9 0c383e63963b":                          pidf.DeskPhone,
		"Gigaset N510 IP PRO/42.250.00.000.000":                       pidf.DeskPhone,
		"N510 IP PRO/42.238.00.000.000":                               pidf.DeskPhone,
		"Mitel-6920-SIP/6.4.0.140":                                    pidf.DeskPhone,
		"Aastra 51i/2.5.1.41":                                         pidf.DeskPhone,
		"Avaya one-X Deskphone 7.1.15.1.3 b4475ea2e9a0":               pidf.DeskPhone,
		"Avaya H175 Collaboration Station H1xx_SIP-R1_0_2_3_3050.tar": pidf.DeskPhone,
		"OBIHAI/OBi202-3.2.2.5921":                                    pidf.DeskPhone,
		"3Com-SIP-Phone/V7.1.53.53":                                   pidf.DeskPhone,

		"Asterisk PBX 18.20.0":             "",
		"Avaya-SM/7.1.3.0":                 "",
		"Cisco-SIPGateway/IOS-12.x":        "",
		"Mitel-3300-ICP":                   "",
		strings.Repeat("x", 1<<16):         "",
		"snom " + strings.Repeat("x", 300): pidf.DeskPhone,
	} {
		for _, transport := range []string{"udp", "tcp", "tls"} {
			if got := classify(agent, "", transport); got != want {
				t.Errorf("%.80q over %s: %q, want %q", agent, transport, got, want)
			}
		}
		if want != "" && !want.Valid() {
			t.Errorf("%q is no class", want)
		}
	}
}

// What else is told counts where the product does not decide.
func TestTags(t *testing.T) {
	for _, c := range []struct {
		agent, params, transport string
		want                     pidf.DeviceClass
	}{
		// WebSockets are browsers', unless the product says otherwise.
		{"", "", "wss", pidf.Browser},
		{"", "", "ws", pidf.Browser},
		{"Acme Portal 1.0", ";+sip.mobility=mobile", "wss", pidf.Browser},
		{"Yealink SIP-T58W 150.86.0.15", "", "wss", pidf.DeskPhone},
		{"LinphoneiOS/4.6.5 (iPad) LinphoneSDK/5.2.45", "", "wss", pidf.Tablet},
		{"baresip v3.16.0 (x86_64/linux)", "", "wss", pidf.Browser},

		// Mobility.
		{"", `;+sip.mobility="mobile"`, "tls", pidf.Phone},
		{"Acme/1 (iPad)", `;+sip.mobility="mobile"`, "tls", pidf.Tablet},
		{"Zoiper v2.10.20.4_1", ";mobility=MOBILE", "tls", pidf.Phone},
		{"Linphone/5.2.0", `;+sip.mobility="mobile"`, "udp", pidf.Phone},
		{"MicroSIP/3.21.3", `;+sip.mobility="mobile"`, "udp", pidf.Desktop}, // a laptop
		{"Zoiper v2.10.20.4_1", ";mobility=fixed", "tls", pidf.Desktop},
		{"Acme", ";mobility=fixed", "tls", pidf.DeskPhone},
		{"Acme (Windows)", ";mobility=fixed", "tls", pidf.Desktop},
		{"Yealink SIP-T46S 66.86.0.15", ";mobility=mobile", "tls", pidf.DeskPhone},
		{"Acme", `;+sip.mobility="!mobile"`, "tls", ""},

		// Machines.
		{"Yealink SIP-T46S 66.86.0.15", ";+sip.automata", "tls", ""},
		{"", ";automata", "wss", ""},
		{"Yealink SIP-T46S 66.86.0.15", `;+sip.automata="FALSE"`, "tls", pidf.DeskPhone},

		// A description, and what tells nothing.
		{"Acme", `;+sip.description="<Alice's iPad>"`, "tls", pidf.Tablet},
		{"Acme", `;+sip.description="<PC with Windows>"`, "tls", pidf.Desktop},
		{"Acme", `;+sip.class="business";audio;video;methods="INVITE,BYE"`, "tls", ""},

		// Instances.
		{"Acme", `;+sip.instance="<urn:gsma:imei:90420156-025763-0>"`, "tls", pidf.Phone},
		{"Acme", `;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"`, "tls", pidf.DeskPhone},
		{"Acme", `;+sip.instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>"`, "tls", ""},
		{"Cisco-SIPIPCommunicator/9.1.1", `;+sip.instance="<urn:uuid:00000000-0000-0000-0000-005056c00001>"`, "tcp", pidf.Desktop},
	} {
		if got := classify(c.agent, sip.Params(c.params), c.transport); got != c.want {
			t.Errorf("%q %s over %s: %q, want %q", c.agent, c.params, c.transport, got, c.want)
		}
	}
}

// An exception stands before what it is an exception from, and everything is in lower case.
func TestProductsAreReached(t *testing.T) {
	for _, p := range products {
		if p.prefix == "" || p.prefix != strings.ToLower(p.prefix) {
			t.Errorf("%q is not in lower case", p.prefix)
		}
		if got, ok := productOf(p.prefix + "x"); !ok || got != p {
			t.Errorf("%q is hidden by %q", p.prefix, got.prefix)
		}
		if p.class == "" {
			continue
		}
		if !p.class.Valid() {
			t.Errorf("%q has the class %q", p.prefix, p.class)
		}
	}
}

func BenchmarkClassify(b *testing.B) {
	params := sip.Params(`;+sip.instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>";+sip.mobility="mobile";audio;video`)
	b.ReportAllocs()
	for b.Loop() {
		classify("Some Softphone 1.0 (Windows 11)", params, "tls")
	}
}
