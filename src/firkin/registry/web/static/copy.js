// Copy buttons, where the browser can copy. Everything else works without scripts.
for (const button of document.querySelectorAll(".command .copy")) {
  const text = button.parentElement.querySelector("code").textContent;
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}
