"""Makes report.docx with python-docx 1.2.0 and letter.eml with Python's own email package:
python3 make.py, in this folder."""
import zipfile
from email.message import EmailMessage
from email.policy import SMTP

import docx

d = docx.Document()
d.add_heading("Annual report", 0)
d.add_paragraph("The year was good. ").add_run("Sales & service rose.").bold = True
d.add_heading("Offices", 1)
d.add_paragraph("We have offices in Łódź\tand Genève.")
t = d.add_table(rows=2, cols=2)
for i, row in enumerate([["City", "People"], ["Oslo", "12"]]):
    for k, text in enumerate(row):
        t.cell(i, k).text = text
d.add_heading("", 2)
d.add_paragraph("The end.", style="Intense Quote")
d.save("full.docx")
# the parts that are read: python-docx's template is larger than all the rest
with zipfile.ZipFile("full.docx") as old, zipfile.ZipFile("report.docx", "w", zipfile.ZIP_DEFLATED) as new:
    for name in ["[Content_Types].xml", "_rels/.rels", "word/document.xml"]:
        new.writestr(zipfile.ZipInfo(name), old.read(name))
import os
os.remove("full.docx")

m = EmailMessage(policy=SMTP)
m["Subject"] = "Übergabe der Schlüssel"
m["From"] = "Åsa Öberg <asa@example.org>"
m["To"] = "team@example.org"
m["Date"] = "Mon, 02 Mar 2026 09:00:00 +0100"
m.set_content("The key is with Mr. Müller.\n\nCall 4711 first.\n", charset="iso-8859-1")
m.add_alternative("<html><title>x</title><body><p>The key, as a page.</p></body></html>", subtype="html")
m.add_attachment("Deliver by Friday.\n".encode(), maintype="text", subtype="plain", filename="Lieferung für März.txt")
m.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="logo.png")
m.set_boundary("outer")
for i, part in enumerate(p for p in m.walk() if p.is_multipart() and p is not m):
    part.set_boundary("inner%d" % i)
open("letter.eml", "wb").write(m.as_bytes())
