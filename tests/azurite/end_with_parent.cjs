// Preloaded into Azurite: its standard input is a pipe that closes when the test run ends, even by SIGKILL.
process.stdin.on("end", () => process.exit(0)).resume();
