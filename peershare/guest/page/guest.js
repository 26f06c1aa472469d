// Sends the files of the form one after the other, and shows how far each is.
// Without this script the form works as well, only without the bars.

const form = document.getElementById("send");
const input = document.getElementById("file");
const list = document.getElementById("sending");
const button = form.querySelector("button");
const limit = Number(form.dataset.limit);

function show(file) {
  const line = document.createElement("li");
  const name = document.createElement("bdi");
  const bar = document.createElement("progress");
  const state = document.createElement("small");
  name.textContent = file.name;
  bar.max = 1;
  bar.value = 0;
  bar.setAttribute("aria-label", file.name);
  line.append(name, bar, state);
  list.append(line);
  return { bar, state };
}

function send(file, { bar, state }) {
  return new Promise((done) => {
    const end = (text) => {
      bar.remove();
      state.textContent = text;
      done();
    };
    if (file.size > limit) {
      end("It is too large to be sent here.");
      return;
    }
    const body = new FormData();
    body.append("file", file, file.name);
    const request = new XMLHttpRequest();
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) {
        bar.value = event.loaded / event.total;
        state.textContent = `${Math.floor((100 * event.loaded) / event.total)} %`;
      }
    };
    request.onload = () => end(request.responseText || `Refused (${request.status}).`);
    request.onerror = () => end("It did not arrive: the connection was lost. Try again.");
    request.open("POST", form.getAttribute("action"));
    request.setRequestHeader("Accept", "text/plain");
    request.send(body);
  });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const files = [...input.files];
  button.disabled = true;
  for (const file of files) {
    await send(file, show(file));
  }
  form.reset();
  button.disabled = false;
});
