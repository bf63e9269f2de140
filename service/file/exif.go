package file

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
)

// jpegHead is what the head of a JPEG says beside its size.
type jpegHead struct {
	orientation int  // of EXIF, 1 to 8; 0 when not told
	progressive bool // decoders keep all coefficients of such a picture
}

// maxSegments bounds how many parts of a head are looked at.
const maxSegments = 200

// readJPEGHead reads the head of a JPEG as far as it can.
func readJPEGHead(p io.ReadSeeker) (h jpegHead) {
	if _, err := p.Seek(0, io.SeekStart); err != nil {
		return h
	}
	r := bufio.NewReader(p)
	var mark [4]byte
	if _, err := io.ReadFull(r, mark[:2]); err != nil || mark[0] != 0xff || mark[1] != 0xd8 {
		return h
	}
	for range maxSegments {
		b, err := r.ReadByte()
		for ; err == nil && b != 0xff; b, err = r.ReadByte() {
		}
		for ; err == nil && b == 0xff; b, err = r.ReadByte() { // fill bytes
		}
		if err != nil || b == 0xda || b == 0xd9 { // the picture itself, or the end
			return h
		}
		if b == 0 || b == 1 || 0xd0 <= b && b <= 0xd7 {
			continue // without a length
		}
		if _, err := io.ReadFull(r, mark[:2]); err != nil {
			return h
		}
		n := int(binary.BigEndian.Uint16(mark[:2])) - 2
		if n < 0 {
			return h
		}
		switch b {
		case 0xc2, 0xc6, 0xca, 0xce:
			h.progressive = true
		case 0xe1:
			data := make([]byte, n)
			if _, err := io.ReadFull(r, data); err != nil {
				return h
			}
			if o := orientation(data); h.orientation == 0 {
				h.orientation = o
			}
			continue
		}
		if _, err := r.Discard(n); err != nil {
			return h
		}
	}
	return h
}

// orientation reads tag 0x0112 of EXIF in an APP1 segment; 0 when there is none.
func orientation(data []byte) int {
	tiff, ok := bytes.CutPrefix(data, []byte("Exif\x00\x00"))
	if !ok || len(tiff) < 8 {
		return 0
	}
	var order binary.ByteOrder = binary.BigEndian
	if string(tiff[:2]) == "II" {
		order = binary.LittleEndian
	} else if string(tiff[:2]) != "MM" {
		return 0
	}
	at := uint64(order.Uint32(tiff[4:8]))
	if at+2 > uint64(len(tiff)) {
		return 0
	}
	entries := uint64(order.Uint16(tiff[at:]))
	for i := range entries {
		e := at + 2 + 12*i
		if e+12 > uint64(len(tiff)) {
			return 0
		}
		if order.Uint16(tiff[e:]) == 0x0112 && order.Uint16(tiff[e+2:]) == 3 {
			if v := int(order.Uint16(tiff[e+8:])); 1 <= v && v <= 8 {
				return v
			}
			return 0
		}
	}
	return 0
}
