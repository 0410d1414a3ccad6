"use strict";
// The swipe is a range input laid over two images: pointer, touch and keyboard come with it.
for (const box of document.querySelectorAll(".swipe")) {
  const input = box.querySelector("input");
  const update = () => {
    box.style.setProperty("--split", input.value + "%");
    input.setAttribute("aria-valuetext", Math.round(input.value) + " % HSI, the remainder fused");
  };
  input.addEventListener("input", update);
  update();
}
