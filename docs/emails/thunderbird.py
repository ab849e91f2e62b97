"""Thunderbird: a real mail client, on a display of its own, with a profile that is thrown away.

It is driven through Marionette, the remote control in every Thunderbird
(https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html), and its windows are photographed from the X
server, so the pictures are what somebody in front of the screen sees.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCREEN = (1400, 1400)
_COLOURS = 96  # of a picture's palette

_PREFERENCES = {
    # One account, "Local Folders", and no wizard that asks for another.
    "mail.accountmanager.accounts": "account1",
    "mail.accountmanager.localfoldersserver": "server1",
    "mail.account.account1.server": "server1",
    "mail.server.server1.type": "none",
    "mail.server.server1.name": "Local Folders",
    "mail.server.server1.hostname": "Local Folders",
    "mail.server.server1.userName": "nobody",
    "mail.server.server1.directory-rel": "[ProfD]Mail/Local Folders",
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.spotlight.firstRunDone": True,
    "mail.shell.checkDefaultClient": False,
    "mail.rights.version": 1,
    "mailnews.start_page.enabled": False,
    "mailnews.start_page_override.mstone": "ignore",
    "mail.spam.version": 1,
    # Nothing leaves the machine.
    "app.update.enabled": False,
    "app.donation.eoy.version.viewed": 999,
    "browser.safebrowsing.enabled": False,
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
    "extensions.update.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "mail.inappnotifications.enabled": False,
    "mailnews.message_display.disable_remote_image": True,
    "network.connectivity-service.enabled": False,
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
    # A list of lines, in threads, oldest first; attachments unfolded.
    "mail.threadpane.listview": 1,
    "mail.pane_config.dynamic": 0,
    "mailnews.default_view_flags": 1,
    "mailnews.sort_threads_by_root": True,
    "mailnews.default_sort_type": 18,
    "mailnews.default_sort_order": 1,
    "mailnews.headers.show_n_lines_before_more": 9,
    "mailnews.attachments.display.start_expanded": True,
    "mailnews.mark_message_read.auto": False,
    "mail.dark-reader.enabled": False,
    "ui.systemUsesDarkTheme": 0,
    "general.smoothScroll": False,
    "ui.caretBlinkTime": 0,
}

_FOLDER = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const { MailUtils } = ChromeUtils.importESModule("resource:///modules/MailUtils.sys.mjs");
const until = async (what, true_yet) => {
  for (let tries = 0; tries < 200; tries++) {
    const value = true_yet();
    if (value) return value;
    await new Promise(resolve => Services.wm.getMostRecentWindow(null).setTimeout(resolve, 50));
  }
  throw new Error("waited in vain for " + what);
};
const main = await until("the main window", () => Services.wm.getMostRecentWindow("mail:3pane"));
const pane = await until("the three panes", () => {
  const pane = main.gTabmail?.currentAbout3Pane;
  return pane?.document.readyState == "complete" && pane.displayFolder && pane;
});
const folder = await until("the folder", () =>
  MailServices.accounts.localFoldersServer.rootFolder.descendants.find(each => each.name == name));
"""

_LIST = """
const [name, width, height] = arguments;
%s
pane.displayFolder(folder.URI);
await until("the messages", () => pane.gDBView?.rowCount && !folder.locked && folder.getTotalMessages(false));
pane.paneLayout.messagePaneVisible = false;
pane.gViewWrapper.showThreaded = true;
pane.gViewWrapper.sort(Ci.nsMsgViewSortType.byDate, Ci.nsMsgViewSortOrder.ascending);
pane.gDBView.doCommand(Ci.nsMsgViewCommandType.expandAll);
pane.threadTree.selectedIndex = -1;
folder.markAllMessagesRead(null);
const columns = { threadCol: 0, attachmentCol: 24, subjectCol: 440, senderCol: 228, recipientCol: 228, dateCol: 0 };
const states = Object.keys(columns).map((id, ordinal) => [id, { visible: true, ordinal }]);
pane.threadPane.applyPersistedColumnsState(Object.fromEntries(states));
pane.threadPane.updateColumns();
pane.threadTree.reset();
main.moveTo(0, 0);
main.resizeTo(width, height);
pane.paneLayout.folderPaneSplitter.width = 170;
for (const [id, width] of Object.entries(columns)) {
  const splitter = pane.document.getElementById(id + "Splitter");
  if (width && splitter) splitter.width = width;
}
return pane.gDBView.rowCount;
"""

_OPEN = """
const [name, messageId, width] = arguments;
%s
const header = await until("the message", () => folder.msgDatabase.getMsgHdrForMessageID(messageId));
MailUtils.openMessageInNewWindow(header);
const opened = await until("the message's window", () => {
  const opened = Services.wm.getMostRecentWindow("mail:messageWindow");
  return opened?.messageBrowser?.contentWindow?.msgLoaded && opened;
});
const shown = opened.messageBrowser.contentWindow;
const body = shown.getMessagePaneBrowser();
await until("the pictures", () => [...body.contentDocument.images].every(each => each.complete));
opened.moveTo(0, 0);
for (const id of ["toolbar-menubar", "mail-bar3", "status-bar"]) opened.document.getElementById(id)?.remove();
opened.document.documentElement.style.setProperty("min-height", "0", "important");
const settled = () => new Promise(resolve => opened.setTimeout(resolve, 600));
opened.resizeTo(width, 500);
await settled();
const text = body.contentDocument;
const bottom = Math.ceil(text.body.getBoundingClientRect().bottom) + 24;
opened.resizeTo(width, 500 - body.clientHeight + bottom);
await settled();
return [opened.outerWidth, opened.outerHeight];
"""

_CLOSE = """Services.wm.getMostRecentWindow("mail:messageWindow").close();"""


class Thunderbird:
    """Be a Thunderbird with one folder.

    :param width: of its windows, in pixels.
    """

    def __init__(self, marionette: Marionette, display: str, folder: str, width: int) -> None:
        """Hold what drives it."""
        self._marionette = marionette
        self._display = display
        self._folder = folder
        self._width = width

    def photograph_list(self, picture: Path, width: int, height: int) -> None:
        """Show the folder's list, every conversation unfolded, and photograph it."""
        self._marionette.run(_LIST % _FOLDER, self._folder, width, height)
        time.sleep(2)
        _photograph(self._display, picture, width, height)

    def photograph_message(self, picture: Path, message_id: str) -> None:
        """Open a message in a window as high as its text, photograph and close it.

        :param message_id: without angle brackets.
        """
        width, height = self._marionette.run(_OPEN % _FOLDER, self._folder, message_id, self._width)
        _photograph(self._display, picture, width, height)
        self._marionette.run(_CLOSE)


class Marionette:
    """Speak to a Thunderbird: a JSON array with its length in front, either way."""

    def __init__(self, port: int) -> None:
        """Connect, and ask for the rights of the mail client's own code."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._stream = self._socket.makefile("rb")
        self._number = 0
        self._answer()
        self._ask("WebDriver:NewSession", {})
        self._ask("Marionette:SetContext", {"value": "chrome"})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript and return what it returns."""
        wrapped = (
            "const done = arguments[arguments.length - 1];"
            f"(async function () {{ {script} }}).apply(null, [...arguments].slice(0, -1))"
            ".then(value => done({ value }), error => done({ error: String(error) + error.stack }));"
        )
        answer = self._ask("WebDriver:ExecuteAsyncScript", {"script": wrapped, "args": arguments, "sandbox": "system"})[
            "value"
        ]
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer.get("value")

    def _ask(self, name: str, parameters: dict[str, Any]) -> Any:
        self._number += 1
        command = json.dumps([0, self._number, name, parameters]).encode()
        self._socket.sendall(f"{len(command)}:".encode() + command)
        _, _, error, result = self._answer()
        if error:
            raise RuntimeError(error["message"])
        return result

    def _answer(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            piece = self._stream.read(1)
            if not piece:
                raise ConnectionError("Thunderbird has gone")
            length += piece
        return json.loads(self._stream.read(int(length[:-1])))


@contextmanager
def thunderbird(mbox: bytes, *, folder: str, width: int) -> Iterator[Thunderbird]:
    """Run Thunderbird with a folder of these messages; it is gone afterwards, with all that it wrote."""
    with tempfile.TemporaryDirectory(prefix="thunderbird-") as home, _x_server() as display:
        folders = Path(home) / "profile" / "Mail" / "Local Folders"
        folders.mkdir(parents=True)
        (folders / folder).write_bytes(mbox)
        (folders.parent.parent / "user.js").write_text(
            "".join(f'user_pref("{name}", {json.dumps(value)});\n' for name, value in _PREFERENCES.items())
        )
        command = ["thunderbird", "--no-remote", "--profile", str(folders.parent.parent)]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "DISPLAY": display,
            "TZ": "Europe/London",
            "LANG": "en_GB.UTF-8",
        }
        with subprocess.Popen(
            [*command, "--marionette", "--remote-allow-system-access"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                yield Thunderbird(Marionette(_port(folders.parent.parent)), display, folder, width)
            finally:
                process.terminate()
                process.wait(30)


@contextmanager
def _x_server() -> Iterator[str]:
    """Run an X server without a screen, and give its display."""
    screen = "x".join(map(str, (*_SCREEN, 24)))
    with subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-screen", "0", screen],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            number = process.stdout.readline() if process.stdout else ""
            yield f":{number.strip()}"
        finally:
            process.terminate()


def _port(profile: Path) -> int:
    for _ in range(300):
        try:
            return int((profile / "MarionetteActivePort").read_text())
        except (OSError, ValueError):
            time.sleep(0.2)
    raise TimeoutError("Thunderbird did not start within a minute")


def _photograph(display: str, picture: Path, width: int, height: int) -> None:
    crop = ["-crop", f"{width}x{height}+0+0", "+repage"]
    small = ["+dither", "-colors", str(_COLOURS), "-strip", "-define", "png:exclude-chunks=date,time"]
    subprocess.run(
        ["import", "-display", display, "-window", "root", *crop, *small, f"PNG8:{picture}"], check=True, timeout=60
    )
