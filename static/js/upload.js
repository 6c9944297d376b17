// Files go to the server one by one, from a card that stands outside of <main>: the page may change meanwhile.
(() => {
  const tray = document.getElementById("upload-tray");
  if (!tray || !window.Dropzone) return;
  const part = (name) => tray.querySelector(`[data-tray="${name}"]`);

  const AT_ONCE = 3;
  const TRIES = 3;
  const PAUSE = [1000, 3000];
  // So many failures in a row are no fault of the files: stop asking until a person says so.
  const PATIENCE = 3;
  const ROWS = 200;
  const JUNK = /^(\.|Thumbs\.db$|desktop\.ini$)/;
  const REFRESH = 1500;

  const number = (count) => count.toLocaleString("en");
  const files = (count) => `${number(count)} ${count === 1 ? "file" : "files"}`;
  const bytes = (size) => {
    const units = ["KB", "MB", "GB", "TB"];
    let unit = 0;
    for (size /= 1024; size >= 1000 && unit < units.length - 1; unit++) size /= 1024;
    return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
  };

  // A batch is one act of adding: its first answer names the upload that its other files belong to.
  const newBatch = (url = "", limit = Infinity) => ({ url, limit, upload: null, asking: false });
  let draft = newBatch();
  let drafted = [];
  let target = draft;

  let queue = [];
  let failures = 0;
  let problem = "";
  let counts, said, toggled, lastRefresh = 0;
  // What is to be drawn with the next frame, however often that is asked for.
  const drawing = { card: 0, chosen: 0 };
  const reports = new Set();
  const sending = new Set();
  const resting = new Map();
  const broken = new Set();

  const reset = () => {
    counts = { files: 0, settled: 0, bytes: 0, added: 0, duplicate: 0, refused: 0, unpacking: 0 };
    said = 0;
    toggled = false;
    reports.clear();
    broken.clear();
    part("rows").replaceChildren();
  };
  reset();
  const isBusy = () => sending.size + resting.size + queue.length > 0;
  clipsite.isUploading = isBusy;

  // Dropzone reads what is dropped, folders included, and sends one file at a time; what is sent when is decided here.
  const dropzone = new Dropzone(document.createElement("div"), {
    url: ([file]) => file.batch.url,
    paramName: "files",
    params: ([file]) => ({
      ...(file.batch.upload && !file.isZip ? { upload: file.batch.upload } : {}),
      // With its folders, which may be labels.
      paths: file.fullPath || file.webkitRelativePath || file.name,
    }),
    maxFilesize: null,
    previewsContainer: false,
    disablePreviews: true,
    createImageThumbnails: false,
    clickable: false,
    autoQueue: false,
    autoProcessQueue: false,
  });
  dropzone.on("sending", (file, xhr) => xhr.setRequestHeader("X-CSRFToken", clipsite.csrf()));
  dropzone.on("addedfile", (file) => { dropzone.files = []; add(file, target); });
  dropzone.on("uploadprogress", (file, progress) => { file.row.querySelector("progress").value = progress; draw(); });
  dropzone.on("success", (file, answer) => settle(file, answer));
  dropzone.on("error", (file, answer, xhr) => fail(file, read(answer), xhr));

  // From the page into the queue

  const zone = (element) =>
    element?.closest?.("[data-dropzone]") ?? document.querySelector("[data-dropzone], #main[data-upload-url]");
  const batchOf = (element) => {
    const url = element.dataset.uploadUrl;
    const limit = Number(element.dataset.uploadLimit) || Infinity;
    if (!url) return Object.assign(draft, { limit });
    const going = [...queue, ...resting.keys(), ...sending].find((file) => file.batch.url === url);
    return going?.batch ?? newBatch(url, limit);
  };

  const add = (file, batch) => {
    if (JUNK.test(file.name) || file.webkitRelativePath?.includes("__MACOSX/")) return;
    file.batch = batch;
    file.tries = 0;
    // Each ZIP has a report of its own: it may go on being unpacked long after its neighbours are in.
    file.isZip = /\.zip$/i.test(file.name) || file.type === "application/zip";
    if (!batch.url) { drafted.push(file); drawChosen(); return; }
    if (!isBusy() && !problem && !broken.size) reset();
    counts.files += 1;
    counts.bytes += file.size;
    if (file.size > batch.limit && !file.isZip) {
      refuse(file, `Too large: more than ${bytes(batch.limit)}. It was not sent.`);
    } else {
      queue.push(file);
    }
    pump();
  };

  const isFiles = (event) => event.dataTransfer?.types.includes("Files");
  let marked, unmark;
  document.addEventListener("dragover", (event) => {
    const over = isFiles(event) && zone(event.target);
    if (!over) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    if (marked !== over) marked?.classList.remove("dz-drag-hover");
    marked = over;
    over.classList.add("dz-drag-hover");
    clearTimeout(unmark);
    unmark = setTimeout(() => over.classList.remove("dz-drag-hover"), 200);
  });
  document.addEventListener("drop", (event) => {
    const over = isFiles(event) && zone(event.target);
    if (!over) return;
    event.preventDefault();
    target = batchOf(over);
    dropzone.drop(event);
  });
  document.addEventListener("change", (event) => {
    const input = event.target;
    if (input.type !== "file" || !input.closest("[data-dropzone]")) return;
    target = batchOf(zone(input));
    for (const file of input.files) dropzone.addFile(file);
    // The form itself must not send them once more.
    input.value = "";
  });
  document.addEventListener("click", (event) => {
    const pick = event.target.closest("[data-pick]");
    if (pick) document.getElementById(pick.dataset.pick).click();
    if (event.target.closest("[data-chosen-clear]")) { drafted = []; drawChosen(); }
  });

  // What was chosen for a project that is not made yet
  const drawChosen = () => {
    if (!drawing.chosen) drawing.chosen = requestAnimationFrame(showChosen);
  };
  const showChosen = () => {
    drawing.chosen = 0;
    for (const box of document.querySelectorAll("[data-chosen]")) {
      box.hidden = !drafted.length;
      const size = drafted.reduce((sum, file) => sum + file.size, 0);
      box.querySelector("[data-chosen-text]").textContent = `${files(drafted.length)}, ${bytes(size)}`;
    }
  };
  document.addEventListener("projectMade", (event) => {
    const made = draft;
    const chosen = drafted;
    [draft, drafted] = [newBatch(), []];
    made.url = event.detail.url;
    for (const file of chosen) add(file, made);
  });
  document.addEventListener("htmx:load", () => { if (drafted.length) drawChosen(); });

  // From the queue to the server

  const pump = () => {
    while (!problem && sending.size < AT_ONCE && queue.length) {
      const { batch, isZip } = queue[0];
      if (!isZip && !batch.upload && batch.asking) break;
      if (!isZip) batch.asking = true;
      send(queue.shift());
    }
    draw();
  };

  const send = (file) => {
    sending.add(file);
    file.tries += 1;
    Object.assign(file.upload, { progress: 0, bytesSent: 0 });
    mark(file, "", "");
    dropzone.processFile(file);
  };

  const settle = (file, { upload, state, added = [], duplicates = [], refused = [] }) => {
    leave(file);
    failures = 0;
    if (!file.isZip) file.batch.upload ??= upload;
    reports.add(upload);
    counts.settled += 1;
    counts.added += added.length;
    counts.duplicate += duplicates.length;
    counts.refused += refused.length;
    if (file.isZip) {
      const open = state === "open";
      if (open) counts.unpacking += 1;
      const text = open ? "Being unpacked in the background" : words(added.length, duplicates.length, refused.length);
      mark(file, refused.length ? "is-refused" : "is-added", `${text}. `);
      const link = Object.assign(document.createElement("a"), { href: reportOf(upload), textContent: "Report" });
      file.row.querySelector(".upload-outcome").append(link);
    } else if (refused.length) {
      mark(file, "is-refused", refused[0].reason);
    } else {
      mark(file, added.length ? "is-added" : "is-duplicate", added.length ? "Added" : duplicates[0]?.reason || "Already here");
    }
    pump();
  };

  const refuse = (file, reason) => {
    counts.settled += 1;
    counts.refused += 1;
    mark(file, "is-refused", reason);
  };

  const fail = (file, answer, xhr) => {
    const status = xhr?.status ?? 0;
    if (answer?.refused) { settle(file, answer); return; }
    if (file.status === Dropzone.CANCELED) return;
    leave(file);
    if (status === 429) wait(file, Number(xhr.getResponseHeader("Retry-After")) || 1);
    else if (status === 0 || [408, 500, 502, 503, 504].includes(status)) again(file, status);
    else if (status === 400 || status === 413) refuse(file, sentence(answer, "The server did not take this file."));
    else halt(file, PROBLEMS[status] ?? sentence(answer, `The server answered ${status}.`));
    pump();
  };
  const PROBLEMS = {
    401: "You are logged out. Log in in another tab, then try again.",
    403: "You may not add images to this project any more, or you are logged out.",
    404: "This project is not here any more.",
  };

  const rest = (file, pause) => {
    mark(file, "", "Waiting to try again");
    resting.set(file, setTimeout(() => { resting.delete(file); queue.unshift(file); pump(); }, pause));
  };

  // Too many requests in a short time are no failure, and the server says when there is room for more.
  const wait = (file, seconds) => {
    file.tries -= 1;
    rest(file, seconds * 1000);
  };

  const again = (file, status) => {
    if (file.tries < TRIES) { rest(file, PAUSE[file.tries - 1]); return; }
    failures += 1;
    broken.add(file);
    mark(file, "is-refused", status ? `The server failed (${status}).` : "The connection broke.");
    if (failures >= PATIENCE) problem = "The site can't be reached. Nothing is lost: try again when it can.";
  };

  const halt = (file, reason) => {
    problem = reason;
    mark(file, "", "Waiting");
    queue.unshift(file);
  };

  const leave = (file) => {
    sending.delete(file);
    if (!file.isZip) file.batch.asking = false;
  };

  // Dropzone reads what calls itself plain JSON alone, and hands a problem over as text.
  const read = (answer) => {
    try { return typeof answer === "string" ? JSON.parse(answer) : answer; } catch { return null; }
  };
  const sentence = (answer, otherwise) => (answer?.detail?.length < 300 ? answer.detail : otherwise);

  part("retry").addEventListener("click", () => {
    problem = "";
    failures = 0;
    queue.push(...broken);
    broken.clear();
    for (const file of queue) file.tries = 0;
    pump();
  });
  part("stop").addEventListener("click", async () => {
    const left = () => [...queue, ...resting.keys(), ...sending];
    if (!await clipsite.ask(`Stop with ${files(left().length)} to go?`, "What is uploaded already stays.", "Stop")) return;
    for (const file of left()) {
      counts.files -= 1;
      counts.bytes -= file.size;
      if (file.row) mark(file, "is-refused", "Stopped.");
    }
    for (const timer of resting.values()) clearTimeout(timer);
    for (const file of [...sending]) { dropzone.cancelUpload(file); leave(file); }
    resting.clear();
    queue = [];
    problem = "";
    draw();
  });

  // What the card shows

  const words = (added, duplicate, refused) => [
    (added || !(duplicate + refused)) && `${number(added)} added`,
    duplicate && `${number(duplicate)} already here`,
    refused && `${number(refused)} refused`,
  ].filter(Boolean).join(", ");

  const reportOf = (upload) => tray.dataset.report.replace("/0/", `/${upload}/`);

  const mark = (file, outcome, text) => {
    const row = file.row ?? newRow(file);
    row.className = `upload-row ${outcome}`;
    // Why a file was refused is seen at once, unless somebody closed the list.
    if (outcome === "is-refused" && !toggled) showRows(true);
    // A word stands in the size's place, a sentence on a line of its own.
    const short = /^(Added|Already here)$/.test(text);
    row.querySelector(".upload-outcome").textContent = short ? "" : text;
    row.querySelector(".upload-size").textContent = short ? text : bytes(file.size);
  };

  const newRow = (file) => {
    const row = part("row").content.firstElementChild.cloneNode(true);
    row.querySelector(".upload-name").textContent = file.name;
    row.querySelector(".upload-name").title = file.name;
    row.querySelector("progress").setAttribute("aria-label", `Upload of ${file.name}`);
    file.row = row;
    const rows = part("rows");
    rows.prepend(row);
    // The newest stay, and what was refused longest; the report has them all.
    if (rows.childElementCount > ROWS) {
      const old = [...rows.children].slice(ROWS / 2);
      (old.findLast((one) => one.matches(".is-added, .is-duplicate")) ?? rows.lastElementChild).remove();
    }
    return row;
  };

  const draw = () => {
    if (!drawing.card) drawing.card = requestAnimationFrame(show);
  };

  const show = () => {
    drawing.card = 0;
    tray.hidden = false;
    const busy = isBusy() && !problem;
    const open = [...sending].reduce((sum, file) => sum + (file.size * file.upload.progress) / 100, 0);
    const waiting = [...queue, ...broken].reduce((sum, file) => sum + file.size, 0);
    const flying = [...sending].reduce((sum, file) => sum + file.size, 0);
    part("title").textContent = problem || (!busy && broken.size)
      ? `${files(queue.length + broken.size)} not uploaded`
      : busy ? `Uploading ${number(counts.settled)} of ${files(counts.files)}` : "Upload finished";
    part("progress").max = counts.bytes || 1;
    part("progress").value = busy || problem ? Math.max(0, counts.bytes - waiting - flying + open) : counts.bytes;
    part("progress").hidden = !busy;
    part("counts").textContent = summary();
    part("problem").textContent = problem;
    part("problem").hidden = !problem;
    part("retry").hidden = busy || !(problem || broken.size);
    part("stop").hidden = !isBusy();
    part("close").hidden = isBusy();
    const report = part("report");
    report.hidden = !reports.size;
    report.href = reportOf([...reports].at(-1));
    tellProgress(busy);
    refreshPage(busy);
  };

  const summary = () => {
    const zips = counts.unpacking === 1 ? "a ZIP" : `${counts.unpacking} ZIPs`;
    const unpacking = counts.unpacking ? `${zips} being unpacked` : "";
    const outcome = counts.settled > counts.unpacking ? words(counts.added, counts.duplicate, counts.refused) : "";
    return [outcome, unpacking].filter(Boolean).join(", ");
  };

  // Said at the start, at each quarter and at the end; not for every file.
  const tellProgress = (busy) => {
    const quarter = busy ? 1 + Math.floor((4 * counts.settled) / counts.files) : 6;
    if (quarter === said || (problem && said === 7)) return;
    said = problem ? 7 : quarter;
    if (problem) clipsite.announce(problem);
    else if (!busy) clipsite.announce(`Upload finished: ${summary()}`);
    else clipsite.announce(`Uploading: ${number(counts.settled)} of ${files(counts.files)}`);
  };

  // Whatever shows the project's images may ask for them again.
  const refreshPage = (busy) => {
    if (busy && Date.now() - lastRefresh < REFRESH) return;
    lastRefresh = Date.now();
    document.body.dispatchEvent(new CustomEvent("images-added"));
  };
  // A page that was asked for while files came in may have missed the last of them.
  document.addEventListener("htmx:load", (event) => {
    if (event.detail.elt.id === "main" && reports.size) setTimeout(refreshPage);
  });

  const showRows = (shown) => {
    part("toggle").setAttribute("aria-expanded", String(shown));
    part("toggle").setAttribute("aria-label", shown ? "Hide the files" : "Show the files");
    part("rows").hidden = !shown;
  };
  part("toggle").addEventListener("click", () => {
    toggled = true;
    showRows(part("rows").hidden);
  });
  part("close").addEventListener("click", () => { tray.hidden = true; });

  // A page load would end what goes on: ask first, and follow links and forms without one.
  addEventListener("beforeunload", (event) => { if (isBusy()) event.preventDefault(); });
  const inPlace = (event, element, address) => {
    if (!isBusy() || event.defaultPrevented || element.target || address.origin !== location.origin) return false;
    if (!NO_PAGE.test(address.pathname)) return true;
    element.target = "_blank";
    setTimeout(() => element.removeAttribute("target"));
    return false;
  };
  // What is a file, or has a frame of its own, opens beside this page.
  const NO_PAGE = /^\/(admin|api|static)\/|\/(export|file)\/$/;
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (!link || link.getAttribute("href").startsWith("#") || event.button) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || !inPlace(event, link, link)) return;
    event.preventDefault();
    clipsite.visit(link.href);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    const address = new URL(form.getAttribute("action") ?? "", location);
    if (form.getAttribute("method") === "dialog" || !inPlace(event, form, address)) return;
    event.preventDefault();
    clipsite.visit(address.href, form.getAttribute("method") ?? "GET", new FormData(form, event.submitter));
  });
})();
