package device

import (
	"strings"

	"github.com/parley-im/parley/wire/pidf"
)

// product is something that registers.
type product struct {
	prefix string // of User-Agent, lower case
	class  pidf.DeviceClass
	// anywhere: it runs on several kinds of devices, class is where it is found most, "" when that is not known.
	anywhere bool
}

// productOf finds the product of a User-Agent in lower case.
func productOf(agent string) (product, bool) {
	for i := range products {
		if strings.HasPrefix(agent, products[i].prefix) {
			return products[i], true
		}
	}
	return product{}, false
}

// products: the first that fits counts, so exceptions come before their makers.
var products = []product{
	// In browsers.
	{"jssip", pidf.Browser, false},
	{"sip.js", pidf.Browser, false},
	{"mozilla/", pidf.Browser, false},
	{"im-client/oma1.0 sipml5", pidf.Browser, false},
	{"sipml5", pidf.Browser, false},
	{"browser phone", pidf.Browser, false},
	{"grandstream gsmeeting/webrtc", pidf.Browser, false},

	// On mobile devices.
	{"linphoneandroid", pidf.Phone, false},
	{"linphoneios", pidf.Phone, false},
	{"linphoneiphone", pidf.Phone, false},
	{"bria android", pidf.Phone, false},
	{"bria ios", pidf.Phone, false},
	{"bria iphone", pidf.Phone, false},
	{"bria ipad", pidf.Tablet, false},
	{"bria mobile", pidf.Phone, false},
	{"csipsimple", pidf.Phone, false},
	{"sipdroid", pidf.Phone, false},
	{"sipaua", pidf.Phone, false},
	{"sipnetic", pidf.Phone, false},
	{"zoiper for android", pidf.Phone, false},
	{"zoiper for ios", pidf.Phone, false},
	{"grandstream wave", pidf.Phone, true},
	{"groundwire", pidf.Phone, true},
	{"acrobits", pidf.Phone, true},
	{"cloud softphone", pidf.Phone, true},
	{"cloudsoftphone", pidf.Phone, true},
	{"cisco-tct", pidf.Phone, false},
	{"cisco-bot", pidf.Phone, false},
	{"cisco-tab", pidf.Tablet, false},

	// On desktops.
	{"linphone", pidf.Desktop, true},
	{"baresip", pidf.Desktop, true},
	{"pjsua", pidf.Desktop, true},
	{"purple/", pidf.Desktop, false},
	{"pidgin", pidf.Desktop, false},
	{"microsip", pidf.Desktop, false},
	{"twinkle", pidf.Desktop, false},
	{"x-lite", pidf.Desktop, false},
	{"eyebeam", pidf.Desktop, false},
	{"counterpath", pidf.Desktop, true},
	{"bria", pidf.Desktop, true},
	{"jitsi meet", "", true},
	{"jigasi", "", true},
	{"jitsi", pidf.Desktop, true},
	{"sip communicator", pidf.Desktop, false},
	{"ekiga", pidf.Desktop, false},
	{"telepathy", pidf.Desktop, false},
	{"empathy", pidf.Desktop, false},
	{"blink", pidf.Desktop, true},
	{"phonerlite", pidf.Desktop, false},
	{"phoner", pidf.Desktop, false},
	{"z 3", pidf.Desktop, true},
	{"z 5", pidf.Desktop, true},
	{"zoiper rev", pidf.Desktop, true},
	{"zoiper for ", pidf.Desktop, true},
	{"zoiper", "", true},
	{"3cx", "", true},
	{"cisco-csf", pidf.Desktop, false},
	{"cisco-sipipcommunicator", pidf.Desktop, false},
	{"avaya sip softphone", pidf.Desktop, false},
	{"avaya one-x communicator", pidf.Desktop, false},
	{"avaya communicator", "", true},
	{"avaya equinox", "", true},
	{"avaya workplace", "", true},
	{"sangoma windows", pidf.Desktop, false},
	{"sangoma macos", pidf.Desktop, false},

	// Servers and gateways: behind them may be anything.
	{"asterisk", "", false},
	{"freeswitch", "", false},
	{"kamailio", "", false},
	{"opensips", "", false},
	{"cisco-sipgateway", "", false},
	{"ciscosystems-sip-gateway", "", false},
	{"cisco-cucm", "", false},
	{"avaya-sm", "", false},
	{"avaya-cm", "", false},
	{"avaya cm", "", false},
	{"mitel-3300", "", false},
	{"mitel border", "", false},

	// On desks, with their cordless ones and adapters.
	{"yealink", pidf.DeskPhone, false},
	{"snom", pidf.DeskPhone, false},
	{"poly", pidf.DeskPhone, false},
	{"cisco/", pidf.DeskPhone, false},
	{"cisco-cp", pidf.DeskPhone, false},
	{"cisco-ata", pidf.DeskPhone, false},
	{"cisco-sip-ip-phone", pidf.DeskPhone, false},
	{"linksys/", pidf.DeskPhone, false},
	{"sipura/", pidf.DeskPhone, false},
	{"grandstream", pidf.DeskPhone, false},
	{"fanvil", pidf.DeskPhone, false},
	{"gigaset", pidf.DeskPhone, false},
	{"n510 ip", pidf.DeskPhone, false},
	{"a510", pidf.DeskPhone, false},
	{"a580", pidf.DeskPhone, false},
	{"c430", pidf.DeskPhone, false},
	{"c530", pidf.DeskPhone, false},
	{"c610", pidf.DeskPhone, false},
	{"s850", pidf.DeskPhone, false},
	{"mitel", pidf.DeskPhone, false},
	{"aastra", pidf.DeskPhone, false},
	{"avaya", pidf.DeskPhone, false},
	{"htek", pidf.DeskPhone, false},
	{"audc-ipphone", pidf.DeskPhone, false},
	{"audiocodes", pidf.DeskPhone, false},
	{"panasonic", pidf.DeskPhone, false},
	{"obihai", pidf.DeskPhone, false},
	{"avm fritz", pidf.DeskPhone, false},
	{"fritz!", pidf.DeskPhone, false},
	{"alcatel", pidf.DeskPhone, false},
	{"openstage", pidf.DeskPhone, false},
	{"unify", pidf.DeskPhone, false},
	{"siemens", pidf.DeskPhone, false},
	{"digium", pidf.DeskPhone, false},
	{"sangoma", pidf.DeskPhone, false},
	{"escene", pidf.DeskPhone, false},
	{"vtech", pidf.DeskPhone, false},
	{"akuvox", pidf.DeskPhone, false},
	{"tiptel", pidf.DeskPhone, false},
	{"auerswald", pidf.DeskPhone, false},
	{"innovaphone", pidf.DeskPhone, false},
	{"spectralink", pidf.DeskPhone, false},
	{"3com-sip-phone", pidf.DeskPhone, false},
	{"nortel", pidf.DeskPhone, false},
	{"flyingvoice", pidf.DeskPhone, false},
	{"mediatrix", pidf.DeskPhone, false},
}
