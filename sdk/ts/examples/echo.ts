// A bot that answers every message:
//
//	PARLEY_URL=http://localhost:8443 PARLEY_ADDRESS=bob@parley.test PARLEY_PASSWORD=… node echo.js
import { connect } from "@parley-im/sdk";

const { PARLEY_URL: url = "", PARLEY_ADDRESS: address = "", PARLEY_PASSWORD: password = "" } = process.env;
const client = connect({ url });
const me = await client.signIn({ address, password, device: "Echo bot" });
const events = client.events();
process.once("SIGTERM", () => events.close());
events.onState((state) => console.log(state));
for await (const event of events) {
	if (event.type === "message" && event.value.from !== me.address && event.value.text !== "") {
		await client.send({ conversation: event.value.conversation, text: `You said: ${event.value.text}` });
	}
}
await client.signOut();
