// Light or dark as Airflow's own switch says, at once and when it changes; as the system says where it says nothing.
{
  const system = matchMedia("(prefers-color-scheme: dark)");
  const settle = () => {
    const chosen = localStorage.getItem("theme");
    const dark = chosen === "dark" || (chosen !== "light" && system.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  };
  settle();
  addEventListener("storage", settle);
  system.addEventListener("change", settle);
}
