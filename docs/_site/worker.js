/* Lets the search run where the site is opened from files: browsers start no worker from a file, so
   the worker's script runs in a hidden frame instead. The theme looks for the name IFrameWorker. */
"use strict";
(() => {
  class FrameWorker extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inner = frame.contentDocument;
      const path = new URL(url, location.href).href.replace(/[&"<]/g, encodeURIComponent);
      inner.open();
      inner.write(
        `<!doctype html><script>postMessage = parent.postMessage.bind(parent);</script>` +
          `<script src="${path}"></script>`,
      );
      inner.close();
      this.frame = frame.contentWindow;
      this.loaded = new Promise((resolve) => {
        this.frame.onload = resolve; // after close(), because open() removes handlers
      });
      this.listener = (event) => {
        if (event.source !== this.frame) return;
        this.dispatchEvent(new MessageEvent("message", { data: event.data }));
        if (this.onmessage) this.onmessage(event);
      };
      addEventListener("message", this.listener);
    }
    postMessage(data) {
      this.loaded.then(() => this.frame.dispatchEvent(new MessageEvent("message", { data })));
    }
    terminate() {
      removeEventListener("message", this.listener);
      this.frame.frameElement.remove();
    }
  }
  if (location.protocol === "file:") {
    window.IFrameWorker = FrameWorker;
    window.Worker = FrameWorker;
  }
})();
