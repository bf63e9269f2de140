// Files and pictures in a conversation.
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { composer, largestFile, log, said, talkPath, write } from "./world.mjs";

const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** Files as they come by paste or drop. bytes: a size, which is filled with letters, or base64. */
const handOver = (field, { how, name, type, data, size, text }) =>
  field.evaluate(
    (element, given) => {
      const carried = new DataTransfer();
      if (given.text) carried.setData("text/plain", "x".repeat(given.size));
      else {
        const body = given.data ? Uint8Array.from(atob(given.data), (c) => c.charCodeAt(0)) : new Uint8Array(given.size).fill(97);
        carried.items.add(new File([body], given.name, { type: given.type }));
      }
      if (given.how === "paste") {
        element.dispatchEvent(new ClipboardEvent("paste", { clipboardData: carried, bubbles: true, cancelable: true }));
        return;
      }
      for (const kind of ["dragenter", "dragover", "drop"]) {
        element.dispatchEvent(new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true }));
      }
    },
    { how, name, type, data, size, text },
  );

export function files({ world, until, must }) {
  const both = async () => {
    const [ada, ben] = world.pair();
    const [a, b] = await Promise.all([world.enter(ada, talkPath(ben)), world.enter(ben, talkPath(ada))]);
    await Promise.all([composer(a.page).waitFor(), composer(b.page).waitFor()]);
    return { ada, ben, a, b };
  };
  /** A picture as the browser makes them, in base64. */
  const picture = (page, type = "image/png") =>
    page.evaluate((wanted) => {
      const canvas = document.createElement("canvas");
      canvas.width = 900;
      canvas.height = 600;
      const draw = canvas.getContext("2d");
      draw.fillStyle = "#0b6b61";
      draw.fillRect(0, 0, 900, 600);
      draw.fillStyle = "#f0b03a";
      draw.fillRect(300, 200, 300, 200);
      return canvas.toDataURL(wanted).split(",")[1];
    }, type);
  const tray = (page) => page.getByRole("list", { name: "Files to send" });
  /** The bytes of what a click downloads, and its name. */
  const fetched = async (page, click) => {
    const [download] = await Promise.all([page.waitForEvent("download"), click()]);
    return { bytes: readFileSync(await download.path()), name: download.suggestedFilename() };
  };

  return {
    async "a picture is pasted, seen before, sent with progress, and large on the other side"() {
      const { a, b } = await both();
      const data = await picture(a.page);
      await handOver(composer(a.page), { how: "paste", name: "holiday.png", type: "image/png", data });
      const waiting = tray(a.page).getByRole("listitem").filter({ hasText: "holiday.png" });
      await waiting.waitFor();
      const shown = waiting.locator("img");
      await until("the preview is drawn", () => shown.evaluate((img) => img.complete && img.naturalWidth === 900));
      // One that is not wanted goes before it is sent.
      await handOver(composer(a.page), { how: "drop", name: "wrong.txt", type: "text/plain", size: 100 });
      await tray(a.page).getByRole("button", { name: "Remove wrong.txt" }).click();
      await tray(a.page).getByText("wrong.txt").waitFor({ state: "detached" });
      // The line is held up, so that the progress can be seen.
      let go;
      const held = new Promise((release) => {
        go = release;
      });
      await a.page.route("**/files/**", async (route) => {
        if (route.request().method() === "PUT") await held;
        await route.continue();
      });
      await write(a.page, "from the lake");
      await a.page.getByRole("progressbar", { name: "Uploading holiday.png" }).waitFor();
      go();
      for (const one of [a, b]) {
        const message = said(one.page, "from the lake");
        const button = message.getByRole("button", { name: "Show picture holiday.png" });
        await until("the thumbnail is drawn", () => button.locator("img").evaluate((img) => img.complete && img.naturalWidth > 0).catch(() => false));
      }
      await a.page.getByRole("progressbar").waitFor({ state: "detached" });
      await b.page.getByRole("button", { name: "Show picture holiday.png" }).click();
      const box = b.page.getByRole("dialog", { name: "holiday.png" });
      const large = box.getByRole("img", { name: "holiday.png" });
      await until("the whole picture is drawn", () => large.evaluate((img) => img.complete && img.naturalWidth === 900));
      const got = await fetched(b.page, () => box.getByRole("link", { name: "Download" }).click());
      must(got.bytes.equals(Buffer.from(data, "base64")), "the picture is byte for byte the same");
      await b.page.keyboard.press("Escape");
      await box.waitFor({ state: "detached" });
      await until("the focus is back", () => b.page.getByRole("button", { name: "Show picture holiday.png" }).evaluate((e) => e === document.activeElement));
      await world.leave(a, b);
    },

    async "a WebP picture, of which the server makes no small one, is shown itself"() {
      const { a, b } = await both();
      const data = await picture(a.page, "image/webp");
      await handOver(composer(a.page), { how: "paste", name: "screen.webp", type: "image/webp", data });
      await tray(a.page).getByText("screen.webp").waitFor();
      await write(a.page, "what I see");
      for (const one of [a, b]) {
        const shown = said(one.page, "what I see").getByRole("button", { name: "Show picture screen.webp" }).locator("img");
        await until("it is drawn in its own proportions", () =>
          shown.evaluate((img) => img.complete && img.naturalWidth === 900 && img.width === 320 && img.height === 213).catch(() => false));
      }
      await world.leave(a, b);
    },

    async "five files and a text come in the order in which they were given, and one that fails holds nobody up"() {
      const { a, b } = await both();
      const names = [1, 2, 3, 4, 5].map((n) => `part ${n}.txt`);
      // The first upload ends last, and the fourth is refused once.
      const path = "**/files/**";
      let puts = 0;
      let go;
      const held = new Promise((release) => {
        go = release;
      });
      let refuse = true;
      await a.page.route(path, async (route) => {
        const request = route.request();
        if (request.method() !== "PUT") return route.continue();
        const body = request.postData() ?? "";
        puts++;
        if (body.startsWith("1")) await held;
        if (body.startsWith("4") && refuse) {
          refuse = false;
          return route.fulfill({ status: 403, contentType: "application/json", headers: { "parley-reason": "forbidden" }, body: '{"code": "permission_denied", "message": "no"}' });
        }
        return route.continue();
      });
      await a.page.getByLabel("Attach files").first().setInputFiles(names.map((name, n) => ({ name, mimeType: "text/plain", buffer: Buffer.from(`${n + 1} is what it is`) })));
      await tray(a.page).getByText("part 5.txt").waitFor();
      await write(a.page, "all five");
      await write(a.page, "and a text");
      const failed = said(a.page, "part 4.txt").filter({ hasText: "Not sent. You may not do that." });
      await failed.waitFor();
      await until("all are under way", () => puts === 5);
      must((await said(b.page, "part").count()) === 0, "nothing comes before the first");
      go();
      await said(b.page, "and a text").waitFor();
      await failed.getByRole("button", { name: "Try again" }).click();
      await said(b.page, "part 4.txt").waitFor();
      const order = (page) => log(page).getByRole("article").evaluateAll((all) => all.map((one) => /part \d|and a text/.exec(one.textContent)?.[0]).join());
      const wanted = "part 1,part 2,part 3,part 5,and a text,part 4";
      for (const one of [a, b]) await until(`order: ${wanted}`, async () => (await order(one.page)) === wanted);
      await said(b.page, "part 1.txt").filter({ hasText: "all five" }).waitFor();
      a.complaints.splice(0, a.complaints.length, ...a.complaints.filter((line) => !/403/.test(line)));
      await world.leave(a, b);
    },

    async "files are dropped or chosen, and come byte for byte; one that is stopped does not come"() {
      const { ada, ben, a, b } = await both();
      const report = randomBytes(2_500_000);
      await a.page.getByLabel("Attach files").first().setInputFiles([
        { name: "report (final) – Ü.pdf", mimeType: "application/pdf", buffer: report },
        { name: "empty.txt", mimeType: "text/plain", buffer: Buffer.alloc(0) },
      ]);
      await a.page.getByText("empty.txt is empty.").waitFor();
      await handOver(a.page.getByRole("region", { name: `Messages with ${ben.name}` }), { how: "drop", name: "notes.txt", type: "text/plain", size: 70_000 });
      await tray(a.page).getByText("notes.txt").waitFor();
      await composer(a.page).click();
      await a.page.keyboard.press("Enter");
      const link = (name) => b.page.getByRole("log").getByRole("link", { name });
      const first = await fetched(b.page, () => link(/report \(final\)/).click());
      must(hash(first.bytes) === hash(report) && first.name === "report (final) – Ü.pdf", `the report: ${first.name}, ${first.bytes.length} bytes`);
      const second = await fetched(b.page, () => link(/notes\.txt/).click());
      must(second.bytes.equals(Buffer.alloc(70_000, "a")), "the notes are the same");

      // A line that breaks in the middle: the upload goes on where it was.
      const large = randomBytes(6_000_000);
      let puts = 0;
      const path = "**/files/**";
      await a.page.route(path, async (route) => {
        if (route.request().method() !== "PUT" || ++puts !== 3) return route.continue();
        await a.context.setOffline(true);
        await route.abort("connectionreset");
        await a.context.setOffline(false);
      });
      await a.page.getByLabel("Attach files").first().setInputFiles([{ name: "large.bin", mimeType: "application/octet-stream", buffer: large }]);
      await tray(a.page).getByText("large.bin").waitFor();
      await composer(a.page).press("Enter");
      const third = await fetched(b.page, () => link(/large\.bin/).click());
      must(hash(third.bytes) === hash(large) && puts > 3, `after a break: ${third.bytes.length} bytes, ${puts} pieces`);
      await a.page.unroute(path);

      // Stopped: nothing is said.
      let begun;
      const started = new Promise((release) => {
        begun = release;
      });
      await a.page.route(path, async (route) => {
        if (route.request().method() !== "PUT") return route.continue();
        begun(); // and it is never answered
      });
      await a.page.getByLabel("Attach files").first().setInputFiles([{ name: "stopped.bin", mimeType: "application/octet-stream", buffer: large }]);
      await tray(a.page).getByText("stopped.bin").waitFor();
      await composer(a.page).press("Enter");
      await started;
      await said(a.page, "stopped.bin").getByRole("button", { name: "Stop" }).click();
      await said(a.page, "stopped.bin").waitFor({ state: "detached" });
      const { messages } = await ada.api("ConversationService/ListMessages", { conversation: ben.address });
      const names = messages.map((m) => m.file?.name).sort().join();
      must(names === "large.bin,notes.txt,report (final) – Ü.pdf", `recorded: ${names}`);
      a.complaints.length = 0; // lines that broke are complained of, as they should
      await world.leave(a, b);
    },

    async "a paste of 100 MB does not stop the page, one of 5 MB becomes a file"() {
      const { a, b } = await both();
      await handOver(composer(a.page), { how: "paste", text: true, size: 100 << 20 });
      await a.page.getByText(/pasted text\.txt is larger than/).waitFor();
      must((await composer(a.page).inputValue()) === "", "nothing of it is in the field");
      await handOver(composer(a.page), { how: "drop", name: "film.bin", type: "", size: largestFile + 1 });
      await a.page.getByText(/film\.bin is larger than/).waitFor();
      const covered = await composer(a.page).evaluate((field) => {
        const own = field.getBoundingClientRect();
        return document.elementFromPoint(own.left + own.width / 2, own.top + own.height / 2) !== field;
      });
      must(!covered, "what is told lies over the text field");
      await write(a.page, "still here");
      await said(b.page, "still here").waitFor();
      await handOver(composer(a.page), { how: "paste", text: true, size: 5 << 20 });
      await tray(a.page).getByText("pasted text.txt").waitFor();
      await write(a.page, "the whole log");
      const message = said(b.page, "the whole log");
      const got = await fetched(b.page, () => message.getByRole("link", { name: /pasted text\.txt/ }).click());
      must(got.bytes.equals(Buffer.alloc(5 << 20, "x")), `the text: ${got.bytes.length} bytes`);
      // More than one message takes, typed: it says so and does not send.
      await composer(a.page).fill("y".repeat(70_000));
      await a.page.getByRole("alert").getByText("This is longer than one message may be.").waitFor();
      must(await a.page.getByRole("button", { name: "Send" }).isDisabled(), "it cannot be sent");
      await composer(a.page).fill("");
      await a.page.getByText("This is longer than one message may be.").waitFor({ state: "detached" });
      await world.leave(a, b);
    },

    async "a slow line of the other side is told before a large file is sent"() {
      const { ben, a, b } = await both();
      // CheckLineResponse{slow: true, seconds: 150}: there is no slow line here.
      const answer = { contentType: "application/proto", body: Buffer.from([0x08, 1, 0x10, 0x96, 1]) };
      await a.page.route("**/parley.v1.FileService/CheckLine", (route) => route.fulfill(answer));
      await a.page.getByLabel("Attach files").first().setInputFiles([
        { name: "small.txt", mimeType: "text/plain", buffer: Buffer.from("small") },
        { name: "slides.pdf", mimeType: "application/pdf", buffer: Buffer.alloc(1_200_000, 1) },
      ]);
      const warning = tray(a.page).getByRole("status").getByText(`${ben.name} has a slow line: this takes about 3 min there.`);
      await warning.waitFor();
      must((await tray(a.page).getByRole("status").count()) === 1, "a small file needs no warning");
      await world.leave(a, b);
    },
  };
}
