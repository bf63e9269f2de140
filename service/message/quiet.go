package message

// Somebody who does not want to be disturbed gets every message all the same, at once and in order, and its sender hears what
// senders always hear. What is different is how it arrives:
//
//   - Its Priority is non-urgent (RFC 3261 §20.26), whatever the sender wrote, so that the device shows it without a sound.
//     "emergency" is no exception, for anybody can write it: who gets through is who may interrupt. The record of the
//     message keeps what the sender wrote, and the record of the delivery has the Priority with which it was made.
//   - That is decided when a message goes out to a device, not when it came: what waited for a device that was away arrives as
//     its owner wants it then.
//   - Typing notices are not passed on; they are of no use later (RFC 3994 §4).
//   - What is said inside a session passes as it is: the two are talking.

// nonUrgent is the Priority of what must not disturb. RFC 3261 §20.26.
const nonUrgent = "non-urgent"
