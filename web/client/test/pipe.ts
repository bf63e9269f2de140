/** A server at the other end of fetch: answers of the schema's types, a function for each procedure. */
import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "../../../sdk/ts/node_modules/@bufbuild/protobuf/dist/esm/index.js";
import { ContactService } from "../../../sdk/ts/src/gen/parley/v1/contacts_pb.js";
import { ConversationService } from "../../../sdk/ts/src/gen/parley/v1/conversations_pb.js";
import { MessageService } from "../../../sdk/ts/src/gen/parley/v1/messages_pb.js";
import { SessionService } from "../../../sdk/ts/src/gen/parley/v1/session_pb.js";
import { SettingsService } from "../../../sdk/ts/src/gen/parley/v1/settings_pb.js";

const services = [ContactService, ConversationService, MessageService, SessionService, SettingsService];
const methods = new Map<string, DescMethod>(
  services.flatMap((service) => service.methods.map((m) => [`/${service.typeName}/${m.name}`, m] as const)),
);

type Answer = (request: never) => MessageInitShape<DescMessage> | Promise<MessageInitShape<DescMessage>>;

export interface Pipe {
  /** What was asked, in order: "ListConversations". */
  asked: { name: string; request: MessageShape<DescMessage> }[];
  answers: Record<string, Answer>;
}

/** Puts the pipe in the place of the network. An answer that throws is a server that cannot be reached. */
export function pipe(answers: Record<string, Answer>): Pipe {
  const made: Pipe = { asked: [], answers };
  globalThis.fetch = async (input, init) => {
    const method = methods.get(String(input));
    if (!method) throw new TypeError(`nobody answers ${String(input)}`);
    const request = fromBinary(method.input, init?.body as Uint8Array);
    made.asked.push({ name: method.name, request });
    const answer = made.answers[method.name];
    if (!answer) {
      return new Response(JSON.stringify({ code: "unauthenticated" }), {
        status: 401,
        headers: { "content-type": "application/json" },
      });
    }
    const message = create(method.output, await answer(request as never));
    return new Response(toBinary(method.output, message) as Uint8Array<ArrayBuffer>, {
      headers: { "content-type": "application/proto" },
    });
  };
  return made;
}

export const alice = "alice@example.com";
export const bob = "bob@example.com";

export const session = () => ({ id: "0123456789abcdef", address: alice, name: "Alice" });
